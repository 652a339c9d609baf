"""What no later stage could hold does not come in, at whichever door."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.rest.app import create_faces
from adapters.rest.kit import gate
from adapters.rest.kit.operation import Access
from domain.errors import Invalid
from domain.server.listing import ServerFilter
from tests.adapters.rest.conftest import MakeWorld
from tests.adapters.rest.world import new_server
from tests.aio import asynchronous

SERVERS = "/compute/v2.1/servers"
DEEP = b"[" * 1000 + b"]" * 1000
HOSTILE = (
    DEEP,
    b'{"a":' * 1000 + b"1" + b"}" * 1000,
    b"[" * 100_000,
    b'{"x": "\\u0000"}',
    b'{"\\u0000": 1}',
    b'{"x": 1e400}',
    b'{"x": ' + b"9" * 5000 + b"}",
    b'{"x": "\\ud800"}',
    b'{"x": "\xff"}',
    b'"\\',
    b"\0",
)

jsons = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


def depth(document: object) -> int:
    if isinstance(document, dict):
        document = list(document.values())
    return 1 + max(map(depth, document), default=0) if isinstance(document, list) else 0


def texts(document: object) -> list[str]:
    if isinstance(document, dict):
        return [text for item in document.items() for part in item for text in texts(part)]
    if isinstance(document, list):
        return [text for part in document for text in texts(part)]
    return [document] if isinstance(document, str) else []


@given(jsons, st.integers(0, 2 * gate.MAX_DEPTH), st.booleans())
def test_depth_and_nul_are_seen_exactly(document, levels, ascii_only):
    for _ in range(levels):
        document = [document]
    raw = json.dumps(document, ensure_ascii=ascii_only).encode()
    refused = depth(document) > gate.MAX_DEPTH or any("\0" in text for text in texts(document))
    try:
        gate.check_document(raw)
    except Invalid:
        assert refused
    else:
        assert not refused


@asynchronous
async def test_every_operation_with_a_body_refuses_what_nothing_can_hold(cloud: MakeWorld):
    async with cloud() as world:
        client = await world.client("root")
        operations = create_faces(world.services).operations()
        for prefix, operation in operations:
            if operation.method not in ("POST", "PUT", "PATCH"):
                continue
            path = prefix + operation.path.replace("{", "").replace("}", "")
            for body in HOSTILE:
                kind = "application/openstack-images-v2.1-json-patch" if operation.method == "PATCH" else None
                headers = {"content-type": kind or "application/json"}
                if operation.action:
                    body = b'{"%s": %s}' % (operation.action.encode(), body)
                answer = await client.request(operation.method, path, body, headers=headers)
                assert 400 <= answer.status < 500 or answer.status == 501, (operation.name, body[:40], answer)
        for wanted in (None, False, True):
            assert await world.queries.servers(ServerFilter(deleted=wanted)) == []


@asynchronous
async def test_nobody_needs_a_token_to_be_refused(cloud: MakeWorld):
    async with cloud() as world:
        client = await world.client(None, None)
        for body in HOSTILE:
            answer = await client.post("/identity/v3/auth/tokens", body)
            assert answer.status == 400, body[:40]
        for version in ("2." + "9" * 5000, "2.٣", "2.01", "latest9"):
            answer = await client.request("GET", SERVERS, headers={"x-openstack-nova-api-version": version})
            assert answer.status == 400, version[:40]


@asynchronous
async def test_the_refusal_of_a_nul_names_the_field(cloud: MakeWorld):
    async with cloud() as world:
        client = await world.client("amy")
        answer = await client.post(SERVERS, new_server(metadata={"color": "a\0b"}))
        assert answer.status == 400
        assert "field/attribute color" in answer.fault[2]
        answer = await client.post(SERVERS, new_server(metadata={"color": "a backslash: \\u0000"}))
        assert answer.status == 202


@asynchronous
async def test_query_strings(cloud: MakeWorld):
    async with cloud() as world:
        client = await world.client("root")
        for prefix, operation in create_faces(world.services).operations():
            if operation.method != "GET" or operation.access is Access.PUBLIC:
                continue
            path = prefix + operation.path.replace("{", "").replace("}", "")
            for name in operation.query or ("name",):
                answer = await client.get(f"{path}?{name}=a%00b")
                assert answer.status in (400, 404, 405), (operation.name, answer)
                assert answer.status != 400 or name in answer.content.decode(), (operation.name, answer)
                answer = await client.get(f"{path}?{name}=%ff")
                assert answer.status in (400, 404, 405), (operation.name, answer)
        answer = await client.get(f"{SERVERS}?" + "&".join(["uuid=x"] * (gate.MAX_PARAMETERS + 1)))
        assert answer.status == 400


@pytest.mark.parametrize("name", ["%00", "a%0d%0aX:1", "%7f", "x" * 256])
@asynchronous
async def test_what_nothing_can_be_called_is_not_there(cloud: MakeWorld, name):
    async with cloud() as world:
        client = await world.client("root")
        for prefix, operation in create_faces(world.services).operations():
            last = operation.path.rpartition("/")[2]
            if not last.startswith("{") or operation.method == "PATCH" or operation.access is Access.PUBLIC:
                continue
            path = prefix + operation.path.replace(last, name).replace("{", "").replace("}", "")
            body = {} if operation.body_type or operation.method == "PUT" else None
            answer = await client.request(operation.method, path, body)
            assert answer.status == (400 if operation.method == "PUT" else 404), (operation.name, answer)


@asynchronous
async def test_paths_are_utf_8(cloud: MakeWorld):
    async with cloud() as world:
        client = await world.client("amy")
        created = await client.post(SERVERS, new_server())
        server = f"{SERVERS}/{created.body['server']['id']}"
        await world.advance()
        assert (await client.put(f"{server}/tags/%88")).status == 400
        assert (await client.get(f"{server}/tags")).body == {"tags": []}


@asynchronous
async def test_what_anybody_may_get_anybody_may_knock_at(cloud: MakeWorld):
    async with cloud() as world:
        client = await world.client(None, None)
        for prefix, operation in create_faces(world.services).operations():
            if operation.method != "GET" or operation.access is not Access.PUBLIC or "{" in operation.path:
                continue
            path = prefix + operation.path
            got = await client.get(path)
            for method in ("HEAD", "OPTIONS"):
                answer = await client.request(method, path)
                assert (answer.status, answer.content) == (got.status, b""), (method, path)
        assert (await client.request("OPTIONS", SERVERS)).status == 401
        for path in ("", "/", "/nowhere", "/compute/nowhere"):
            for method in ("GET", "HEAD", "OPTIONS", "POST"):
                assert (await client.request(method, path)).status == 404, (method, path)
