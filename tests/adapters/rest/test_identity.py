import os
import threading
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from adapters.rest.identity import passwords
from adapters.rest.identity.directory import Directory
from adapters.rest.identity.passwords import hash_password, verify_password
from adapters.rest.identity.tokens import Tokens, load_or_create_key
from domain.errors import Refused
from tests.adapters.rest.conftest import MakeWorld
from tests.adapters.rest.world import ADMIN, BLUE, identity_settings, login, user_id
from tests.aio import asynchronous
from tests.clocks import InstantClock

TOKENS = "/identity/v3/auth/tokens"


def test_passwords():
    stored = hash_password("secret")
    assert verify_password("secret", stored)
    assert not verify_password("Secret", stored)
    assert hash_password("secret") != stored
    for damaged in ("", "scrypt$x", "md5$1$1$1$aa$aa", "scrypt$16384$8$1$!$!"):
        assert not verify_password("secret", damaged)


@asynchronous
async def test_a_password_is_checked_with_what_processors_have_left(monkeypatch: pytest.MonkeyPatch):
    """On two cores a stranger's guesses took a third of one from everybody's answers."""
    nice: list[int] = []

    def verify(_password: str, _stored: str) -> bool:
        nice.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return True

    monkeypatch.setattr(passwords, "verify_password", verify)
    assert await passwords.check_password("secret", "")
    assert nice == [passwords.NICE]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) != passwords.NICE


@asynchronous
async def test_discovery(cloud: MakeWorld):
    async with cloud() as world:
        nobody = await world.client(None)
        answer = await nobody.get("/identity/v3")
        assert answer.status == 200
        version = answer.body["version"]
        assert (version["id"], version["status"]) == ("v3.14", "stable")
        assert version["links"] == [{"rel": "self", "href": "http://cloud.test/identity/v3/"}]
        choices = await nobody.get("/identity")
        assert choices.status == 300
        assert choices.body == {"versions": {"values": [version]}}
        assert (await nobody.get("/identity/v3/")).body == answer.body


@asynchronous
async def test_a_password_gives_a_token_with_the_catalogue(cloud: MakeWorld):
    async with cloud() as world:
        answer = await (await world.client(None)).post(TOKENS, login("amy"))
        assert answer.status == 201
        token = answer.body["token"]
        assert token["user"]["name"] == "amy"
        assert token["user"]["domain"] == {"id": "default", "name": "Default"}
        assert token["project"]["id"] == BLUE
        assert {role["name"] for role in token["roles"]} == {"member", "reader"}
        assert {service["type"] for service in token["catalog"]} == {
            "identity",
            "compute",
            "image",
            "network",
            "placement",
            "block-storage",
            "volumev3",
        }
        compute = next(service for service in token["catalog"] if service["type"] == "compute")
        assert {endpoint["interface"] for endpoint in compute["endpoints"]} == {"public", "internal", "admin"}
        for endpoint in compute["endpoints"]:
            assert endpoint["url"] == "http://cloud.test/compute/v2.1"
            assert endpoint["region"] == endpoint["region_id"] == "RegionOne"
        assert b"amy" not in answer.headers["x-subject-token"].encode()


def _with(path: str, value: object):
    body = login("amy")
    part = body["auth"]
    *steps, last = path.split(".")
    for step in steps:
        part = part[step]
    part[last] = value
    return body


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (login("amy", password="wrong"), 401),
        (_with("identity.password.user.name", "nobody"), 401),
        (_with("identity.password.user.domain", {"name": "Other"}), 401),
        (login("amy", project="green"), 401),
        (login("amy", project="none"), 401),
        (_with("identity.methods", []), 401),
        (_with("identity.methods", ["magic"]), 400),
        (_with("identity.password", None), 400),
        (_with("scope", {"domain": {"id": "default"}}), 403),
        (_with("scope", {"system": {"all": True}}), 403),
        ({}, 400),
        (b"x", 400),
    ],
)
@asynchronous
async def test_logins_that_fail(cloud: MakeWorld, body, status):
    async with cloud() as world:
        answer = await (await world.client(None)).post(TOKENS, body)
        assert answer.status == status
        assert answer.body["error"]["code"] == status
        assert answer.body["error"]["title"]
        assert "x-subject-token" not in answer.headers


@asynchronous
async def test_a_token_is_rescoped_but_does_not_live_longer(cloud: MakeWorld):
    async with cloud() as world:
        root = await world.client("root")
        first = await root.get(TOKENS)
        assert first.status == 400, "no subject"
        shown = await root.request("GET", TOKENS, headers={"X-Subject-Token": root.token})
        world.clock.advance(600)
        body = {"identity": {"methods": ["token"], "token": {"id": root.token}}, "scope": {"project": {"id": BLUE}}}
        answer = await root.post(TOKENS, {"auth": body})
        assert answer.status == 201
        assert answer.body["token"]["project"]["id"] == BLUE
        assert answer.body["token"]["expires_at"] == shown.body["token"]["expires_at"]


@asynchronous
async def test_validation_and_revocation(cloud: MakeWorld):
    async with cloud() as world:
        root, amy, eve = await world.client("root"), await world.client("amy"), await world.client("eve")
        headers = {"X-Subject-Token": amy.token}
        assert (await root.request("GET", TOKENS, headers=headers)).body["token"]["user"]["name"] == "amy"
        assert (await root.request("HEAD", TOKENS, headers=headers)).status == 200
        assert (await root.request("GET", TOKENS, headers={"X-Subject-Token": "x"})).status == 404
        assert (await eve.request("DELETE", TOKENS, headers=headers)).status == 403
        assert (await amy.request("DELETE", TOKENS, headers=headers)).status == 204
        assert (await amy.get("/compute/v2.1/servers")).status == 401
        assert (await root.request("GET", TOKENS, headers=headers)).status == 404


def tokens(settings=None, clock=None):
    settings = settings or identity_settings()
    return Tokens(settings, Directory(settings), clock or InstantClock())


def issue(made: Tokens, name: str = "amy", project: str | None = BLUE) -> str:
    directory = Directory(identity_settings())
    return made.issue(directory.user(user_id(name)), directory.projects.get(project or ""), ("password",))[0]


def refused(made: Tokens, token: str) -> bool:
    try:
        made.validate(token)
    except Refused as refusal:
        return refusal.status == 401
    return False


def test_a_token_is_read_by_every_worker_that_has_the_key():
    token = issue(tokens())
    assert tokens().validate(token).user_name == "amy"
    other = msgspec.structs.replace(identity_settings(), token_keys=(b"o" * 32,))
    assert refused(tokens(other), token)
    both = msgspec.structs.replace(identity_settings(), token_keys=(b"o" * 32, b"k" * 32))
    assert tokens(both).validate(token).user_name == "amy"


def test_a_token_that_was_changed_is_none():
    made = tokens()
    token = issue(made)
    for at in (0, 20, len(token) - 2):
        assert refused(made, token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :])


@asynchronous
async def test_a_token_ends():
    clock = InstantClock()
    made = tokens(clock=clock)
    token = issue(made)
    await clock.sleep((identity_settings().token_life - timedelta(seconds=1)).total_seconds())
    assert made.validate(token)
    await clock.sleep(1)
    assert refused(made, token)


def test_a_changed_password_or_a_lost_role_ends_the_tokens():
    token = issue(tokens())
    known = identity_settings()
    for changes in ({"password_hash": hash_password("new")}, {"roles": {}}, {"enabled": False}):
        users = tuple(
            msgspec.structs.replace(user, **changes) if user.name == "amy" else user for user in known.users
        )
        assert refused(tokens(msgspec.structs.replace(known, users=users)), token)


def test_a_directory_that_is_renewed_ends_tokens_that_were_good():
    known = identity_settings()
    directory = Directory(known)
    made = Tokens(known, directory, InstantClock())
    token = issue(made)
    assert made.validate(token).roles == ("member", "reader")
    amy = directory.user(user_id("amy"))
    less = msgspec.structs.replace(amy, roles={BLUE: ("reader",)})
    directory.renew((less,), known.projects)
    assert made.validate(token).roles == ("reader",)
    for users, projects in (
        ((), known.projects),
        ((msgspec.structs.replace(amy, enabled=False),), known.projects),
        ((msgspec.structs.replace(amy, roles={}),), known.projects),
        ((amy,), ()),
    ):
        directory.renew(users, projects)
        assert refused(made, token)
        assert directory.roles(amy.id, BLUE) == ()
    directory.renew(known.users, known.projects)
    assert made.validate(token).user_name == "amy"
    assert directory.roles(amy.id, BLUE) == ("member", "reader")


def test_the_key_file_is_made_once(tmp_path: Path):
    path = tmp_path / "secrets" / "token.key"
    key = load_or_create_key(path)
    assert load_or_create_key(path) == key
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["token.key"]
    path.write_bytes(b"short")
    with pytest.raises(ValueError, match="has 5 bytes"):
        load_or_create_key(path)


@asynchronous
async def test_names_of_users_and_projects(cloud: MakeWorld):
    async with cloud() as world:
        root, amy = await world.client("root"), await world.client("amy")
        found = (await root.get("/identity/v3/users", name="amy")).body["users"]
        assert [user["id"] for user in found] == [user_id("amy")]
        assert (await root.get(f"/identity/v3/projects/{BLUE}")).body["project"]["name"] == "blue"
        assert (await amy.get(f"/identity/v3/projects/{BLUE}")).status == 200
        assert (await amy.get(f"/identity/v3/projects/{ADMIN}")).status == 403
        assert (await amy.get(f"/identity/v3/users/{user_id('amy')}")).body["user"]["name"] == "amy"
        assert (await root.get("/identity/v3/users/none")).body["error"]["code"] == 404
        own = (await amy.get("/identity/v3/auth/projects")).body["projects"]
        assert [project["name"] for project in own] == ["blue"]
        assert "hash" not in (await root.get("/identity/v3/users")).content.decode()
        named = (await root.get("/identity/v3/role_assignments?include_names=1")).body["role_assignments"]
        assert ("amy", "blue", "member") in [
            (one["user"]["name"], one["scope"]["project"]["name"], one["role"]["name"]) for one in named
        ]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"enabled": "true"}, 6),
        ({"enabled": "1"}, 6),
        ({"enabled": "False"}, 0),
        ({"name": "amy"}, 1),
        ({"name": "AMY"}, 0),
        ({"name__contains": "o"}, 3),
        ({"name__icontains": "AM"}, 1),
        ({"name__startswith": "r"}, 2),
        ({"name__endswith": "e"}, 1),
        ({"name__iendswith": "E", "enabled": "1"}, 1),
        ({"limit": "1", "unheard_of": "x"}, 6),
    ],
)
@asynchronous
async def test_users_are_found_by_their_attributes(cloud: MakeWorld, query: dict[str, str], found: int):
    async with cloud() as world:
        root = await world.client("root")
        assert len((await root.get("/identity/v3/users", **query)).body["users"]) == found


@asynchronous
async def test_roles_are_held_by_users_in_projects_only(cloud: MakeWorld):
    async with cloud() as world:
        root = await world.client("root")
        path = "/identity/v3/role_assignments"
        assert (await root.get(path, effective="")).body["role_assignments"]
        for name in ("group.id", "scope.system", "scope.domain.id"):
            assert (await root.get(path, **{name: "all"})).body["role_assignments"] == []
