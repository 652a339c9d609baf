"""Projects, users, roles and who holds which are made, changed and deleted as at Keystone."""

import asyncio
from typing import Any

import pytest

from domain.log.record import Recorded
from domain.neighbours.identity.events import UserChanged
from domain.neighbours.identity.state import DOMAIN
from tests.adapters.rest.client import Answer, Client
from tests.adapters.rest.conftest import MakeWorld
from tests.adapters.rest.world import BLUE, GREEN, World, login, new_server, user_id
from tests.aio import asynchronous

V3 = "/identity/v3"
TOKENS = f"{V3}/auth/tokens"


async def made(root: Client, noun: str, **fields: Any) -> dict[str, Any]:
    answer = await root.post(f"{V3}/{noun}s", {noun: fields})
    assert answer.status == 201, answer
    document: dict[str, Any] = answer.body[noun]
    return document


async def role_id(root: Client, name: str) -> str:
    (role,) = (await root.get(f"{V3}/roles", name=name)).body["roles"]
    return str(role["id"])


async def status_of_login(world: World, name: str, password: str, project: str = "blue") -> int:
    return (await (await world.client(None)).post(TOKENS, login(name, project, password))).status


async def changes_of(world: World) -> list[Recorded]:
    """What users and administrators have changed of users."""
    history = await world.registry._store.load(DOMAIN)
    return [recorded for recorded in history if isinstance(recorded.event, UserChanged)]


def acting(world: World, answer: Answer) -> Client:
    """Who was given that token."""
    return Client(world.app, answer.headers["x-subject-token"], "2.100")


@asynchronous
async def test_a_new_user_works_in_a_new_project_until_taken_out(cloud: MakeWorld):
    async with cloud() as world:
        root = await world.client("root")
        project = await made(root, "project", name="red", description="new", tags=["a"], domain_id="default")
        assert (project["name"], project["description"], project["tags"]) == ("red", "new", ["a"])
        assert (project["enabled"], project["domain_id"], project["is_domain"]) == (True, "default", False)
        user = await made(
            root, "user", name="joe", password="joe-secret", email="j@x", default_project_id=project["id"]
        )
        assert (user["email"], user["default_project_id"], user["enabled"]) == ("j@x", project["id"], True)
        assert "password" not in user
        assert await status_of_login(world, "joe", "joe-secret", "red") == 401, "no role yet"
        at = f"{V3}/projects/{project['id']}/users/{user['id']}/roles"
        member = await role_id(root, "member")
        for _ in range(2):
            assert (await root.put(f"{at}/{member}")).status == 204
        assert [role["name"] for role in (await root.get(at)).body["roles"]] == ["member"]
        assert (await root.request("HEAD", f"{at}/{member}")).status == 204
        answer = await (await world.client(None)).post(TOKENS, login("joe", "red", "joe-secret"))
        assert answer.status == 201
        joe = acting(world, answer)
        assert (await joe.get("/compute/v2.1/servers")).status == 200
        (held,) = (await root.get(f"{V3}/role_assignments", **{"user.id": user["id"]})).body["role_assignments"]
        assert (held["scope"]["project"]["id"], held["role"]["id"]) == (project["id"], member)
        assert (await root.delete(f"{at}/{member}")).status == 204
        assert (await joe.get("/compute/v2.1/servers")).status == 401
        assert (await root.delete(f"{at}/{member}")).status == 404
        assert (await root.delete(f"{V3}/users/{user['id']}")).status == 204
        assert (await root.get(f"{V3}/users/{user['id']}")).status == 404
        assert (await root.delete(f"{V3}/projects/{project['id']}")).status == 204
        assert (await root.delete(f"{V3}/projects/{project['id']}")).status == 404


@asynchronous
async def test_what_is_changed_is_shown_and_null_empties(cloud: MakeWorld):
    async with cloud() as world:
        root = await world.client("root")
        amy = f"{V3}/users/{user_id('amy')}"
        changed = (await root.patch(amy, {"user": {"name": "amanda", "email": "a@x", "description": "d"}})).body[
            "user"
        ]
        assert (changed["name"], changed["email"], changed["description"]) == ("amanda", "a@x", "d")
        assert "email" not in (await root.patch(amy, {"user": {"email": None}})).body["user"]
        assert await status_of_login(world, "amanda", "amy-secret") == 201
        assert await status_of_login(world, "amy", "amy-secret") == 401
        blue = f"{V3}/projects/{BLUE}"
        changed = (await root.patch(blue, {"project": {"name": "azure", "tags": ["x"]}})).body["project"]
        assert (changed["name"], changed["tags"]) == ("azure", ["x"])
        assert await status_of_login(world, "amanda", "amy-secret", "azure") == 201
        role = await made(root, "role", name="observer")
        renamed = await root.patch(f"{V3}/roles/{role['id']}", {"role": {"name": "watcher", "description": "w"}})
        assert (renamed.body["role"]["name"], renamed.body["role"]["description"]) == ("watcher", "w")
        assert (await root.delete(f"{V3}/roles/{role['id']}")).status == 204
        assert (await root.get(f"{V3}/roles/{role['id']}")).status == 404


@pytest.mark.parametrize("path", [f"{V3}/users/{user_id('amy')}", f"{V3}/projects/{BLUE}"])
@asynchronous
async def test_what_is_disabled_ends_tokens(cloud: MakeWorld, path: str):
    async with cloud() as world:
        root, amy = await world.client("root"), await world.client("amy")
        noun = "user" if "users" in path else "project"
        assert (await root.patch(path, {noun: {"enabled": False}})).body[noun]["enabled"] is False
        assert (await amy.get("/compute/v2.1/servers")).status == 401
        assert await status_of_login(world, "amy", "amy-secret") == 401
        assert (await root.patch(path, {noun: {"enabled": True}})).status == 200
        assert await status_of_login(world, "amy", "amy-secret") == 201


REFUSED: list[tuple[str, str, Any, int, str]] = [
    ("POST", "/projects", {"project": {"name": "blue"}}, 409, "blue"),
    ("POST", "/users", {"user": {"name": "amy", "password": "x"}}, 409, "amy"),
    ("POST", "/roles", {"role": {"name": "member"}}, 409, "member"),
    ("PATCH", f"/projects/{GREEN}", {"project": {"name": "blue"}}, 409, "blue"),
    ("POST", "/projects", {"project": {}}, 400, "name"),
    ("POST", "/projects", {"project": {"name": "x" * 65}}, 400, "name"),
    ("POST", "/projects", {"project": {"name": " "}}, 400, "name"),
    ("POST", "/projects", {"project": {"name": "x", "colour": "red"}}, 400, "colour"),
    ("POST", "/projects", {"project": {"name": "x", "domain_id": "other"}}, 403, "default"),
    ("POST", "/projects", {"project": {"name": "x", "parent_id": BLUE}}, 501, "project"),
    ("POST", "/projects", {"project": {"name": "x", "is_domain": True}}, 501, "domain"),
    ("POST", "/users", {"user": {"password": "x"}}, 400, "name"),
    ("POST", "/users", {"user": {"name": "x", "default_project_id": "none"}}, 400, "none"),
    ("POST", "/users", {"user": {"name": "x", "options": {"lock_password": True}}}, 501, "lock_password"),
    ("POST", "/users", {"user": {"name": "x", "enabled": "yes"}}, 400, "enabled"),
    ("POST", "/roles", {"role": {"name": "x", "domain_id": "default"}}, 501, "domain"),
    ("PATCH", "/users/none", {"user": {}}, 404, "none"),
    ("PATCH", "/projects/none", {"project": {}}, 404, "none"),
    ("PATCH", "/roles/none", {"role": {}}, 404, "none"),
    ("DELETE", "/users/none", None, 404, "none"),
    ("PUT", f"/projects/{BLUE}/users/none/roles/none", None, 404, "none"),
    ("DELETE", f"/users/{user_id('root')}", None, 403, "administrator"),
    ("PATCH", f"/users/{user_id('root')}", {"user": {"enabled": False}}, 403, "administrator"),
    ("POST", "/domains", {"domain": {"name": "x"}}, 501, "domain"),
    ("PUT", f"/domains/default/users/{user_id('amy')}/roles/none", None, 501, "domain"),
    ("PUT", f"/system/users/{user_id('amy')}/roles/none", None, 501, "system"),
    ("POST", "/groups", {"group": {"name": "x"}}, 501, "groups"),
]


@asynchronous
async def test_what_is_refused(cloud: MakeWorld):
    async with cloud() as world:
        root = await world.client("root")
        for method, path, body, status, says in REFUSED:
            answer = await root.request(method, V3 + path, body)
            assert answer.status == status, (method, path, body, answer)
            assert answer.body["error"]["code"] == status
            assert says in answer.body["error"]["message"], (method, path, answer)


@asynchronous
async def test_a_project_that_owns_servers_goes_and_they_stay(cloud: MakeWorld):
    async with cloud() as world:
        root, amy = await world.client("root"), await world.client("amy")
        server = (await amy.post("/compute/v2.1/servers", new_server())).body["server"]
        await world.advance()
        assert (await root.delete(f"{V3}/projects/{BLUE}")).status == 204
        assert (await amy.get("/compute/v2.1/servers")).status == 401
        shown = await root.get(f"/compute/v2.1/servers/{server['id']}")
        assert shown.body["server"]["tenant_id"] == BLUE


@asynchronous
async def test_ones_own_password(cloud: MakeWorld):
    async with cloud() as world:
        amy, rob = await world.client("amy"), await world.client("rob")
        path = f"{V3}/users/{user_id('amy')}/password"

        def change(old: str, new: str) -> dict[str, Any]:
            return {"user": {"original_password": old, "password": new}}

        assert (await amy.post(path, change("wrong", "new-secret"))).status == 401
        assert (await amy.post(path, change("amy-secret", "amy-secret"))).status == 400
        assert (await amy.post(path, {"user": {"password": "x"}})).status == 400
        assert (await rob.post(path, change("rob-secret", "new-secret"))).status == 401
        assert (await amy.get("/compute/v2.1/servers")).status == 200
        assert (await amy.post(path, change("amy-secret", "new-secret"))).status == 204
        assert (await amy.get("/compute/v2.1/servers")).status == 401, "tokens of the old password ended"
        (changed,) = [each for each in await changes_of(world) if each.event.user_id == user_id("amy")]
        assert changed.meta.user_id == user_id("amy")
        assert await status_of_login(world, "amy", "amy-secret") == 401
        assert await status_of_login(world, "amy", "new-secret") == 201


@asynchronous
async def test_an_administrator_sets_a_password(cloud: MakeWorld):
    async with cloud() as world:
        root, amy = await world.client("root"), await world.client("amy")
        at = f"{V3}/users/{user_id('amy')}"
        assert (await root.patch(at, {"user": {"password": "set"}})).status == 200
        assert (await amy.get("/compute/v2.1/servers")).status == 401
        assert await status_of_login(world, "amy", "set") == 201
        assert (await root.patch(at, {"user": {"password": None}})).status == 501


def by_program(credential: dict[str, Any], **more: Any) -> dict[str, Any]:
    shown = {"secret": credential["secret"], "id": credential["id"]} | more
    shown = {name: value for name, value in shown.items() if value is not None}
    return {"auth": {"identity": {"methods": ["application_credential"], "application_credential": shown}}}


@asynchronous
async def test_a_program_acts_for_its_user(cloud: MakeWorld):
    async with cloud() as world:
        amy, nobody = await world.client("amy"), await world.client(None)
        at = f"{V3}/users/{user_id('amy')}/application_credentials"
        body = {"application_credential": {"name": "ci", "description": "d", "roles": [{"name": "reader"}]}}
        answer = await amy.post(at, body)
        assert answer.status == 201
        made = answer.body["application_credential"]
        assert [role["name"] for role in made["roles"]] == ["reader"]
        assert (made["project_id"], made["unrestricted"], made["expires_at"]) == (BLUE, False, None)
        (listed,) = (await amy.get(at)).body["application_credentials"]
        assert listed == {name: value for name, value in made.items() if name != "secret"}
        assert (await amy.get(f"{at}/{made['id']}")).body["application_credential"] == listed
        assert (await amy.post(at, body)).status == 409
        for shown in (
            by_program(made),
            by_program(made, id=None, name="ci", user={"name": "amy", "domain": {"id": "default"}}),
            by_program(made, id=None, name="ci", user={"id": user_id("amy")}),
        ):
            answer = await nobody.post(TOKENS, shown)
            assert answer.status == 201, answer
            token = answer.body["token"]
            assert token["application_credential"] == {"id": made["id"], "name": "ci", "restricted": True}
            assert (token["user"]["name"], token["project"]["id"]) == ("amy", BLUE)
            assert [role["name"] for role in token["roles"]] == ["reader"]
        program = acting(world, answer)
        assert (await program.get("/compute/v2.1/servers")).status == 200
        assert (await program.post("/compute/v2.1/servers", new_server())).status == 403
        assert (await program.post(at, {"application_credential": {"name": "more"}})).status == 403
        assert (await program.delete(f"{at}/{made['id']}")).status == 403
        for wrong in (
            by_program(made, secret="wrong"),
            by_program(made, id="none"),
            by_program(made, id=None, name="ci", user={"name": "rob", "domain": {"id": "default"}}),
        ):
            assert (await nobody.post(TOKENS, wrong)).status == 401
        elsewhere = by_program(made)
        elsewhere["auth"]["scope"] = {"project": {"id": GREEN}}
        assert (await nobody.post(TOKENS, elsewhere)).status == 401
        unscoped = {"identity": {"methods": ["token"], "token": {"id": program.token}}, "scope": "unscoped"}
        assert (await nobody.post(TOKENS, {"auth": unscoped})).status == 401
        again = {"identity": {"methods": ["token"], "token": {"id": program.token}}}
        assert [role["name"] for role in (await nobody.post(TOKENS, {"auth": again})).body["token"]["roles"]] == [
            "reader"
        ]
        assert (await amy.delete(f"{at}/{made['id']}")).status == 204
        assert (await program.get("/compute/v2.1/servers")).status == 401
        assert (await nobody.post(TOKENS, by_program(made))).status == 401
        assert (await amy.delete(f"{at}/{made['id']}")).status == 404


@asynchronous
async def test_a_program_has_no_role_that_its_user_has_lost_and_ends_in_time(cloud: MakeWorld):
    async with cloud() as world:
        root, amy, nobody = await world.client("root"), await world.client("amy"), await world.client(None)
        at = f"{V3}/users/{user_id('amy')}/application_credentials"
        ends = world.clock.now().replace(tzinfo=None).isoformat()
        assert (await amy.post(at, {"application_credential": {"name": "late", "expires_at": ends}})).status == 400
        world.clock.advance(-60)
        made = (await amy.post(at, {"application_credential": {"name": "ci", "expires_at": ends}})).body[
            "application_credential"
        ]
        answer = await nobody.post(TOKENS, by_program(made))
        assert answer.body["token"]["expires_at"].rstrip("Z") == made["expires_at"]
        program = acting(world, answer)
        assert (await program.get("/compute/v2.1/servers")).status == 200
        member = await role_id(root, "member")
        held = f"{V3}/projects/{BLUE}/users/{user_id('amy')}/roles/{member}"
        assert (await root.delete(held)).status == 204
        assert (await program.get("/compute/v2.1/servers")).status == 401
        assert (await root.put(held)).status == 204
        assert (await nobody.post(TOKENS, by_program(made))).status == 401, "it does not come back with the role"
        again = {"application_credential": {"name": "ci", "expires_at": ends}}
        made = (await amy.post(at, again)).body["application_credential"]
        program = acting(world, await nobody.post(TOKENS, by_program(made)))
        world.clock.advance(61)
        assert (await program.get("/compute/v2.1/servers")).status == 401
        assert (await nobody.post(TOKENS, by_program(made))).status == 401


@asynchronous
async def test_a_program_gets_no_more_than_it_has_by_another_one(cloud: MakeWorld):
    """Not even one that may make others: an administrator's that only reads does not become an administrator."""
    async with cloud() as world:
        root, nobody = await world.client("root"), await world.client(None)
        at = f"{V3}/users/{user_id('root')}/application_credentials"
        body = {"name": "reads", "roles": [{"name": "reader"}], "unrestricted": True}
        made = (await root.post(at, {"application_credential": body})).body["application_credential"]
        program = acting(world, await nobody.post(TOKENS, by_program(made)))
        assert (await program.get(f"{V3}/users")).status == 403
        more = {"application_credential": {"name": "more", "roles": [{"name": "admin"}]}}
        assert (await program.post(at, more)).status == 400
        as_much = await program.post(at, {"application_credential": {"name": "as much"}})
        assert [role["name"] for role in as_much.body["application_credential"]["roles"]] == ["reader"]


@asynchronous
async def test_a_restricted_program_does_not_set_its_own_users_password(cloud: MakeWorld):
    async with cloud() as world:
        root, nobody = await world.client("root"), await world.client(None)
        at = f"{V3}/users/{user_id('root')}/application_credentials"
        made = (await root.post(at, {"application_credential": {"name": "ci"}})).body["application_credential"]
        program = acting(world, await nobody.post(TOKENS, by_program(made)))
        path = f"{V3}/users/{user_id('root')}"
        assert (await program.patch(path, {"user": {"password": "mine"}})).status == 403
        assert (await program.patch(path, {"user": {"description": "d"}})).status == 200


@asynchronous
async def test_hashes_that_users_ask_for_are_made_one_at_a_time(cloud: MakeWorld):
    """They take long, and everybody's log-in waits behind them."""
    async with cloud() as world:
        amy = await world.client("amy")
        at = f"{V3}/users/{user_id('amy')}/application_credentials"
        asked = [amy.post(at, {"application_credential": {"name": str(number)}}) for number in range(5)]
        statuses = sorted(answer.status for answer in await asyncio.gather(*asked))
        assert statuses == [201, 429, 429, 429, 429]
        assert (await amy.post(at, {"application_credential": {"name": "later"}})).status == 201


@asynchronous
async def test_refusals_do_not_repeat_secrets(cloud: MakeWorld):
    async with cloud() as world:
        root, amy = await world.client("root"), await world.client("amy")
        answers = [
            await root.post(f"{V3}/users", {"user": {"name": "x", "password": "hidden-one", "magic": 1}}),
            await amy.post(f"{V3}/users/{user_id('amy')}/password", {"user": {"password": "hidden-one"}}),
            await amy.post("/compute/v2.1/servers", {"server": {"adminPass": "hidden-one", "magic": 1}}),
        ]
        for answer in answers:
            assert answer.status == 400
            assert b"hidden-one" not in answer.content, answer


NOT_MADE: list[tuple[dict[str, Any], int]] = [
    ({}, 400),
    ({"name": "x", "roles": [{"name": "admin"}]}, 400),
    ({"name": "x", "roles": [{"id": "none"}]}, 404),
    ({"name": "x", "roles": [{}]}, 400),
    ({"name": "x", "expires_at": "soon"}, 400),
    ({"name": "x", "expires_at": "0001-01-01T00:00:00+14:00"}, 400),
    ({"name": "x", "access_rules": [{"path": "/", "method": "GET", "service": "x"}]}, 501),
    ({"name": "x", "project_id": GREEN}, 403),
]


@asynchronous
async def test_application_credentials_that_are_refused(cloud: MakeWorld):
    async with cloud() as world:
        amy = await world.client("amy")
        at = f"{V3}/users/{user_id('amy')}/application_credentials"
        for fields, status in NOT_MADE:
            answer = await amy.post(at, {"application_credential": fields})
            assert answer.status == status, (fields, answer)


@asynchronous
async def test_whose_application_credentials(cloud: MakeWorld):
    async with cloud() as world:
        root, amy, rob = await world.client("root"), await world.client("amy"), await world.client("rob")
        at = f"{V3}/users/{user_id('amy')}/application_credentials"
        new = {"application_credential": {"name": "ci"}}
        for other in (root, rob):
            assert (await other.post(at, new)).status == 403
        made = (await amy.post(at, new)).body["application_credential"]
        assert {role["name"] for role in made["roles"]} == {"member", "reader"}
        assert (await rob.get(at)).status == 403
        assert (await rob.delete(f"{at}/{made['id']}")).status == 403
        assert len((await root.get(at)).body["application_credentials"]) == 1
        assert (await root.delete(f"{at}/{made['id']}")).status == 204


@asynchronous
async def test_no_secret_lies_open_in_the_log(cloud: MakeWorld):
    async with cloud() as world:
        root, amy = await world.client("root"), await world.client("amy")
        user = await made(root, "user", name="joe", password="joe-secret")
        at = f"{V3}/users/{user_id('amy')}/application_credentials"
        program = (await amy.post(at, {"application_credential": {"name": "ci"}})).body["application_credential"]
        written = b"".join(entry.envelope.body for entry in world.broker.cell("api").entries)
        assert b"joe" in written
        for secret in ("joe-secret", program["secret"], "scrypt$"):
            assert secret.encode() not in written
        assert f"identity-{user['id']}" in await world.people_vault.owners()
        assert (await root.delete(f"{V3}/users/{user['id']}")).status == 204
        assert f"identity-{user['id']}" not in await world.people_vault.owners()
