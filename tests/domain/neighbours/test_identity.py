"""Names are there once, no change takes the last administrator, and the file's entries count when they are new."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from domain.errors import Invalid, LightcurveError, Refused
from domain.log.record import Event
from domain.neighbours.identity import rules
from domain.neighbours.identity.events import (
    ApplicationCredentialCreated,
    ConfiguredUser,
    ProjectChanged,
    ProjectCreated,
    ProjectDeleted,
    RoleChanged,
    RoleCreated,
    RoleDeleted,
    RoleGranted,
    RoleTaken,
    UserChanged,
    UserCreated,
    UserDeleted,
)
from domain.neighbours.identity.rules import Configuration, configure
from domain.neighbours.identity.state import Identity, evolve
from tests.domain.server.servers import meta

ROOT = ConfiguredUser(
    user_id="root", name="root", password="s1", credential_version="c1", mark="m1", roles={"ops": ("r-admin",)}
)
FILE = Configuration(
    projects={"ops": "ops", "blue": "blue"}, roles={"r-admin": "admin", "r-member": "member"}, users=(ROOT,)
)
AMY = UserCreated(user_id="amy", name="amy", credential_version="a1", password="s")
MEMBER = RoleGranted(user_id="amy", project_id="blue", role_id="r-member")
PROGRAM = ApplicationCredentialCreated(
    user_id="amy", credential_id="ac", name="ci", project_id="blue", role_ids=("r-member",), secret="s"
)


def given(*events: Event | None) -> Identity:
    state: Identity | None = None
    for event in (configure(None, FILE), *events):
        assert event is not None
        state = evolve(state, event, meta())
    assert state is not None
    return state


def with_file(state: Identity, **changes: object) -> Identity:
    """The state after the file has become another."""
    fields = {"projects": FILE.projects, "roles": FILE.roles, "users": FILE.users} | changes
    event = configure(state, Configuration(**fields))  # type: ignore[arg-type]
    assert event is not None
    return evolve(state, event, meta())


@pytest.mark.parametrize(
    "decide",
    [
        lambda state: rules.create_project(state, ProjectCreated(project_id="new", name="blue")),
        lambda state: rules.change_project(state, ProjectChanged(project_id="ops", name="blue")),
        lambda state: rules.create_role(state, RoleCreated(role_id="new", name="member")),
        lambda state: rules.change_role(state, RoleChanged(role_id="r-admin", name="member")),
        lambda state: rules.create_user(state, UserCreated(user_id="new", name="amy", credential_version="x")),
        lambda state: rules.change_user(state, UserChanged(user_id="root", name="amy")),
        lambda state: rules.create_application_credential(state, PROGRAM, meta().time),
        lambda state: rules.change_password(state, "amy", "an older one", "p", "v"),
    ],
)
def test_a_name_is_there_once(decide) -> None:
    with pytest.raises(Refused) as refusal:
        decide(given(AMY, MEMBER, PROGRAM))
    assert refusal.value.status == 409


@pytest.mark.parametrize(
    "decide",
    [
        lambda state: rules.delete_user(state, "root"),
        lambda state: rules.change_user(state, UserChanged(user_id="root", enabled=False)),
        lambda state: rules.delete_project(state, "ops"),
        lambda state: rules.change_project(state, ProjectChanged(project_id="ops", enabled=False)),
        lambda state: rules.take(state, "root", "ops", "r-admin"),
    ],
)
def test_the_last_administrator_stays(decide) -> None:
    with pytest.raises(Refused, match="no administrator") as refusal:
        decide(given(AMY))
    assert refusal.value.status == 403
    admin_too = RoleGranted(user_id="amy", project_id="blue", role_id="r-admin")
    assert decide(given(AMY, admin_too)) is not None


def test_the_role_of_administrators_stays_however_many_hold_it() -> None:
    state = given(AMY, RoleGranted(user_id="amy", project_id="blue", role_id="r-admin"))
    with pytest.raises(Refused, match="no administrator"):
        rules.delete_role(state, "r-admin")
    with pytest.raises(Refused, match="no administrator"):
        rules.change_role(state, RoleChanged(role_id="r-admin", name="boss"))
    assert rules.delete_role(state, "r-member") == RoleDeleted(role_id="r-member")


@pytest.mark.parametrize(
    "decide",
    [
        lambda state: rules.change_project(state, ProjectChanged(project_id="none")),
        lambda state: rules.delete_project(state, "none"),
        lambda state: rules.change_role(state, RoleChanged(role_id="none")),
        lambda state: rules.delete_role(state, "none"),
        lambda state: rules.change_user(state, UserChanged(user_id="none")),
        lambda state: rules.delete_user(state, "none"),
        lambda state: rules.grant(state, "amy", "blue", "none"),
        lambda state: rules.grant(state, "amy", "none", "r-member"),
        lambda state: rules.grant(state, "none", "blue", "r-member"),
        lambda state: rules.take(state, "amy", "blue", "r-member"),
        lambda state: rules.delete_application_credential(state, "amy", "none"),
    ],
)
@pytest.mark.parametrize("state", [None, given(AMY)])
def test_what_is_not_there_is_not_found(state: Identity | None, decide) -> None:
    with pytest.raises(Refused) as refusal:
        decide(state)
    assert refusal.value.status == 404


def test_what_changes_nothing_is_no_event() -> None:
    state = given(AMY, MEMBER)
    assert rules.grant(state, "amy", "blue", "r-member") is None
    assert rules.change_project(state, ProjectChanged(project_id="blue", name="blue", enabled=True)) is None
    assert rules.change_user(state, UserChanged(user_id="amy", email="")) is None
    assert configure(state, FILE) is None


def test_what_is_deleted_takes_along_what_hangs_on_it() -> None:
    state = given(AMY, MEMBER, PROGRAM)
    gone = evolve(state, ProjectDeleted(project_id="blue"), meta())
    assert (gone.users["amy"].roles, gone.users["amy"].application_credentials) == ({}, {})
    assert gone.users["root"] == state.users["root"]
    gone = evolve(state, rules.delete_role(state, "r-member"), meta())
    assert gone.users["amy"].roles == {}
    gone = evolve(state, RoleTaken(user_id="amy", project_id="blue", role_id="r-member"), meta())
    assert gone.users["amy"].roles == {}


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"role_ids": ("r-admin",)}, Invalid),
        ({"role_ids": ()}, Invalid),
        ({"project_id": "ops"}, Invalid),
        ({"expires_at": meta().time - timedelta(seconds=1)}, Invalid),
        ({"user_id": "none"}, Refused),
    ],
)
def test_an_application_credential_is_no_more_than_its_user(changes, error: type[LightcurveError]) -> None:
    state = given(AMY, MEMBER)
    assert rules.create_application_credential(state, PROGRAM, meta().time) == PROGRAM
    with pytest.raises(error):
        rules.create_application_credential(state, replace(PROGRAM, **changes), meta().time)


def another(**changes: object) -> tuple[ConfiguredUser, ...]:
    return (replace(ROOT, mark="m2", **changes),)


def test_an_entry_of_the_file_counts_when_it_is_another() -> None:
    renewed = UserChanged(user_id="root", password="own", credential_version="own")
    state = given(renewed)
    assert configure(state, FILE) is None, "the log wins until somebody changes the file"
    assert state.users["root"].password == "own"
    after = with_file(state, users=another(password="s2", credential_version="c2"))
    assert (after.users["root"].password, after.users["root"].credential_version) == ("s2", "c2")


def test_of_a_changed_entry_only_what_is_another_counts() -> None:
    """Who gives somebody a role in the file does not bring back a password that was changed because it had leaked."""
    state = given(UserChanged(user_id="root", password="own", credential_version="own", enabled=False))
    after = with_file(state, users=another(roles={"ops": ("r-admin",), "blue": ("r-member",)}))
    root = after.users["root"]
    assert (root.password, root.credential_version, root.enabled) == ("own", "own", False)
    assert root.roles == {"ops": ("r-admin",), "blue": ("r-member",)}


def test_who_was_disabled_has_other_tokens_when_enabled_again() -> None:
    other = ConfiguredUser(user_id="rob", name="rob", password="s", credential_version="c", mark="m")
    state = with_file(given(), users=(ROOT, other))
    off = with_file(state, users=(ROOT, replace(other, mark="n", enabled=False)))
    on = with_file(off, users=(ROOT, other))
    rob = on.users["rob"]
    assert (rob.enabled, rob.password) == (True, "s")
    assert rob.credential_version != "c"


def test_an_application_credential_does_not_come_back_with_its_role() -> None:
    state = evolve(given(AMY, MEMBER), PROGRAM, meta())
    assert state.users["amy"].application_credentials
    taken = RoleTaken(user_id="amy", project_id="blue", role_id="r-member")
    for gone in (evolve(state, taken, meta()), evolve(state, rules.delete_role(state, "r-member"), meta())):
        assert gone.users["amy"].application_credentials == {}
    elsewhere = RoleTaken(user_id="amy", project_id="ops", role_id="r-member")
    assert evolve(state, elsewhere, meta()).users["amy"].application_credentials


def test_the_file_says_nothing_of_projects_where_nobody_has_a_role() -> None:
    projects = {f"p{number}": f"p{number}" for number in range(50)} | FILE.projects
    entry = replace(ROOT, mark="m2", roles=dict.fromkeys(projects, ()) | {"ops": ("r-admin",)})
    event = configure(given(), replace(FILE, projects=projects, users=(entry,)))
    assert event
    assert event.users[0].roles == {"ops": ("r-admin",)}


def test_a_changed_entry_leaves_roles_in_projects_of_others() -> None:
    state = given(
        ProjectCreated(project_id="new", name="new"),
        RoleGranted(user_id="root", project_id="new", role_id="r-member"),
        RoleGranted(user_id="root", project_id="blue", role_id="r-member"),
    )
    after = with_file(state, users=another(roles={"ops": ("r-admin",), "blue": ()}))
    assert after.users["root"].roles == {"ops": ("r-admin",), "new": ("r-member",)}


def test_what_the_file_names_no_longer_is_disabled_until_it_does_again() -> None:
    other = ConfiguredUser(user_id="rob", name="rob", password="s", credential_version="c", mark="m")
    state = with_file(given(), users=(ROOT, other))
    state = with_file(state, projects={"ops": "ops"})
    assert not state.users["rob"].enabled
    assert not state.projects["blue"].enabled
    state = with_file(state, users=(ROOT, other))
    assert state.users["rob"].enabled
    assert state.projects["blue"].enabled


def test_what_was_deleted_stays_so_until_its_entry_changes() -> None:
    state = given(AMY, RoleGranted(user_id="amy", project_id="blue", role_id="r-admin"))
    for event in (UserDeleted(user_id="root"), ProjectDeleted(project_id="ops"), RoleDeleted(role_id="r-member")):
        state = evolve(state, event, meta())
    assert configure(state, FILE) is None
    after = with_file(state, users=another(roles={"blue": ("r-member",), "ops": ("r-admin",)}))
    assert after.users["root"].roles == {"blue": ("r-member",)}, "the project did not come back"
    assert after.roles["r-member"].name == "member"


def test_an_entry_whose_name_somebody_has_is_passed_over() -> None:
    state = given(AMY, ProjectCreated(project_id="new", name="green"))
    entry = ConfiguredUser(user_id="amy-of-the-file", name="amy", password="s", credential_version="c", mark="m")
    file = Configuration(
        projects=FILE.projects | {"green-of-the-file": "green"}, roles=FILE.roles, users=(ROOT, entry)
    )
    assert configure(state, file) is None


def test_who_has_no_password_is_no_administrator_to_rely_on() -> None:
    joe = UserCreated(user_id="joe", name="joe", credential_version="j")
    state = given(joe, RoleGranted(user_id="joe", project_id="ops", role_id="r-admin"))
    with pytest.raises(Refused, match="no administrator"):
        rules.delete_user(state, "root")
