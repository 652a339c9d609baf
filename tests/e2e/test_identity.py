"""Users, projects, roles and application credentials by the unmodified client, and the way back in."""

import json
from collections.abc import Iterator

import pytest

from tests.e2e.live_stack import LiveStack
from tests.waiting import wait_until

PASSWORD, OWN, SECRET = "joe-secret", "joe-own-secret", "program-secret"


@pytest.fixture
def joe(stack: LiveStack) -> Iterator[str]:
    """The id of a member of a project of his own."""
    stack.openstack("project", "create", "red")
    made = stack.openstack_json("user", "create", "--project", "red", "--password", PASSWORD, "joe")
    stack.openstack("role", "add", "--user", "joe", "--project", "red", "member")
    yield made["id"]
    stack.openstack("user", "delete", "joe")
    stack.openstack("project", "delete", "red")


def as_joe(stack: LiveStack, password: str, *arguments: str, check: bool = True) -> str:
    who = ("--os-username", "joe", "--os-project-name", "red", "--os-password", password)
    return stack.openstack(*who, *arguments, check=check)


def test_a_user_of_ones_own_works_changes_the_password_and_lets_a_program_act(stack: LiveStack, joe: str) -> None:
    held = stack.openstack_json("role", "assignment", "list", "--user", "joe", "--names")
    assert [(each["Role"], each["Project"]) for each in held] == [("member", "red@Default")]
    assert as_joe(stack, PASSWORD, "server", "list", "-f", "value").strip() == ""
    as_joe(stack, PASSWORD, "user", "password", "set", "--original-password", PASSWORD, "--password", OWN)
    assert "401" in as_joe(stack, PASSWORD, "token", "issue", check=False)
    create = ("application", "credential", "create", "--role", "reader", "--secret", SECRET, "ci", "-f", "json")
    program = json.loads(as_joe(stack, OWN, *create))
    assert [role["name"] for role in program["Roles"]] == ["reader"]
    shown = {"id": program["ID"], "secret": SECRET}
    auth = {"identity": {"methods": ["application_credential"], "application_credential": shown}}
    answer = stack.call("POST", "/identity/v3/auth/tokens", {"auth": auth}, token="")
    assert answer.status == 201, answer
    token = answer.headers["x-subject-token"]
    assert stack.call("GET", "/compute/v2.1/servers", token=token).status == 200
    assert stack.call("POST", "/compute/v2.1/servers", {"server": {}}, token=token).status == 403
    stack.openstack("user", "set", "--disable", "joe")
    assert stack.call("GET", "/compute/v2.1/servers", token=token).status == 401


def test_who_is_locked_out_is_let_in_again_and_that_outlives_a_restart(stack: LiveStack, joe: str) -> None:
    refused = stack.openstack("user", "set", "--disable", "admin", check=False)
    assert "no administrator" in refused
    printed = stack.lightcurve("identity", "reset-password", "joe", "--grant-admin", "red").stdout.strip()
    as_joe(stack, printed, "user", "show", "joe")
    stack.kill("api-1")
    wait_until(lambda: joe in as_joe(stack, printed, "user", "show", "joe", check=False), 60, "the API answers again")
    told = stack.lightcurve("log", "--type", "identity.").stdout
    assert "identity.user_created" in told
    assert PASSWORD not in stack.lightcurve("log", "--type", "identity.", "--bodies").stdout
