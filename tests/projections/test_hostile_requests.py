"""Hostile values at every place of every body, path and query string: each is refused or taken, nothing breaks, and
whatever reaches the log all projections and folds can hold.

A failing seed is printed; ``HOSTILE_SEED`` in the environment makes it come again.
"""

import os
from pathlib import Path
from random import Random, SystemRandom
from typing import Any
from urllib.parse import quote

import pytest
from msgspec import inspect

from adapters.memory.store import MemoryEventStore
from adapters.rest.app import create_faces
from adapters.rest.kit.operation import Operation
from adapters.rest.kit.words import words
from domain.catalogue import flavor, keypair, quota
from domain.log.record import Recorded
from domain.neighbours import image, network
from handlers.log.disorder import Disorder
from handlers.log.registry import Registry
from projections.builds import builds_in_force
from projections.postgres import PostgresRows, connect
from tests.adapters.rest.world import IMAGE, NETWORK, SUBNET, World, login, new_server, world
from tests.aio import asynchronous
from tests.handlers.conducting.test_host_gate import HOSTILE, places, put, written
from tests.postgres_fixtures import PROJECTIONS

pytestmark = pytest.mark.postgres

REQUESTS = 4000
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEy0jZnm1mPxV9kBV6YkzGsbF4/6AkwhRDayhNMu7dE6"
MICROVERSIONS = ("2.1", "2.37", "2.56", "2.74", "2.96", "2.100", "2.104")
EVERYTHING = new_server(
    metadata={"k": "v"}, user_data="eA==", key_name="k", description="d", tags=["t"], hostname="h", config_drive=True,
    security_groups=[{"name": "default"}], availability_zone="nova", min_count=1, adminPass="p",
    networks=[{"uuid": NETWORK, "fixed_ip": "10.0.0.77", "tag": "t"}],
    block_device_mapping_v2=[
        {"source_type": "image", "destination_type": "local", "uuid": IMAGE, "boot_index": 0, "volume_size": 1}
    ],
)  # fmt: skip
GOOD: dict[str, Any] = {
    "POST /servers": EVERYTHING | {"os:scheduler_hints": {"query": ["="]}},
    "POST /servers/{server_id}/action rebuild": {
        "rebuild": {"imageRef": IMAGE, "name": "n", "metadata": {"k": "v"}, "description": "d", "user_data": "eA=="}
    },
    "POST /servers/{server_id}/action rescue": {"rescue": {"adminPass": "p", "rescue_image_ref": IMAGE}},
    "POST /os-keypairs": {"keypair": {"name": "k", "public_key": KEY}},
    "POST /v3/auth/tokens": login("amy"),
    "POST /v2/images": {"name": "n", "disk_format": "raw", "container_format": "bare", "tags": ["t"], "os": "linux"},
    "PATCH /v2/images/{image_id}": [{"op": "add", "path": "/os", "value": "x"}],
    "POST /v2.0/networks": {"network": {"name": "n", "mtu": 1400}},
    "PUT /flavors/{flavor_id}/os-extra_specs/{key}": {"key": "value"},
}
ODD = (
    "\0",
    "a\0b",
    "\u202e",
    "😀" * 60,
    "{}",
    "{0}%s",
    "'; --",
    "\\u0000",
    " a  b ",
    "9" * 10,
    "x" * 255,
    "null",
    0,
    1,
    2**31 - 1,
    False,
)
"""What many places may hold, and some later stage might trip over."""
NEEDED = words(
    "server name flavorRef imageRef networks uuid keypair public_key rebuild flavor ram vcpus disk network quota_set "
    "auth metadata meta tags extra_specs op path value"
)
QUERIES = (
    "limit",
    "marker",
    "name",
    "sort_key",
    "sort_dir",
    "changes-since",
    "tags",
    "ip",
    "status",
    "uuid",
    "deleted",
)


def sample(kind: inspect.Type) -> Any:
    """A document of a type, with every field."""
    match kind:
        case inspect.StructType(fields=fields):
            return {field.encode_name: sample(field.type) for field in fields}
        case inspect.Metadata(type=inner):
            return sample(inner)
        case inspect.UnionType(types=kinds):
            return sample(next((each for each in kinds if not isinstance(each, inspect.NoneType)), kinds[0]))
        case inspect.ListType(item_type=inner):
            return [sample(inner)]
        case inspect.DictType():
            return {"key": "1"}
        case inspect.LiteralType(values=values):
            return values[0]
        case inspect.IntType() | inspect.FloatType():
            return 1
        case inspect.BoolType():
            return True
        case inspect.StrType():
            return "1"
    return None


def good_body(operation: Operation) -> Any:
    if operation.name in GOOD:
        return GOOD[operation.name]
    if operation.body_type is not None:
        return sample(inspect.type_info(operation.body_type.struct))
    return {operation.action: None} if operation.action else {}


class Attacker:
    """Sends one hostile request after another."""

    def __init__(self, here: World, random: Random, names: dict[str, str]) -> None:
        self._here = here
        self._random = random
        self._names = names
        self.operations = [
            (prefix, operation) for prefix, operation in create_faces(here.services).operations() if _worth(operation)
        ]
        self.operations += [each for each in self.operations if each[1].method != "GET"] * 3

    def _hostile(self) -> Any:
        return self._random.choice(self._random.choice((HOSTILE, ODD)))

    def _path(self, operation: Operation) -> str:
        parts = []
        for part in operation.path.split("/"):
            if part.startswith("{"):
                name = self._names.get(part.strip("{}"), "x")
                hostile = self._random.random() < 0.1
                text = str(self._hostile()) if hostile else name
                parts.append(quote(text.encode("utf-8", "surrogatepass")[:3000], safe=""))
            else:
                parts.append(part)
        return "/".join(parts)

    def _body(self, operation: Operation) -> bytes | None:
        if operation.method in ("GET", "HEAD", "DELETE"):
            return None
        document = self._some_of(good_body(operation))
        for _ in range(self._random.choice((0, 1, 1, 1, 2))):
            all_places = places(document)
            deep = [place for place in all_places if len(place) > 1]
            place = self._random.choice(deep if deep and self._random.random() < 0.8 else all_places)
            if operation.action and len(place) < 2:
                continue  # else it is no longer this action
            document = put(document, place, self._hostile())
            if not isinstance(document, dict | list):
                break
        return written(document)

    def _some_of(self, document: Any) -> Any:
        """A part of it: fields that no version has together would keep each other out."""
        if isinstance(document, dict):
            kept = {key: self._some_of(value) for key, value in document.items()}
            drop = self._random.choice((0.0, 0.0, 0.3, 0.7))
            return {key: value for key, value in kept.items() if key in NEEDED or self._random.random() >= drop}
        return [self._some_of(each) for each in document] if isinstance(document, list) else document

    async def send(self, name: str) -> tuple[Operation, str, bytes | None, Any]:
        prefix, operation = self._random.choice(self.operations)
        client = (await self._here.client(name)).at(self._random.choice(MICROVERSIONS))
        path, body = prefix + self._path(operation), self._body(operation)
        if operation.method == "GET" and self._random.random() < 0.5:
            value = quote(str(self._hostile()).encode("utf-8", "surrogatepass")[:3000], safe="")
            path += f"?{self._random.choice(QUERIES)}={value}"
        patch = "application/openstack-images-v2.1-json-patch"
        headers = {"content-type": patch if operation.method == "PATCH" else "application/json"}
        answer = await client.request(operation.method, path, body, headers=headers)
        return operation, path, body, answer


def _worth(operation: Operation) -> bool:
    """Deletions would leave nothing to attack, and an upload is no document."""
    ends = operation.method == "DELETE" or operation.action == "forceDelete"
    return not ends and not operation.path.endswith("/file")


async def _log(store: MemoryEventStore) -> list[Recorded]:
    found: list[Recorded] = []
    async for batch in store.follow(0):
        if not batch:
            return found
        found += batch
    return found


@asynchronous
async def test_no_text_of_any_body_may_have_a_nul(tmp_path: Path):
    async with world(tmp_path) as here:
        client = (await here.client("root")).at(MICROVERSIONS[-1])
        for prefix, operation in create_faces(here.services).operations():
            if operation.method not in ("POST", "PUT") or operation.path.endswith("/file"):
                continue
            document = good_body(operation)
            for place in places(document)[1:]:
                body = written(put(document, place, "a\0b"))
                answer = await client.request(operation.method, prefix + operation.path, body)
                assert 400 <= answer.status < 500 or answer.status == 501, (operation.name, place, answer)
                may_be_nothing = operation.body_type is None and operation.action is None and not operation.streamed
                assert may_be_nothing or answer.status in (400, 404), (operation.name, place, answer)
                if operation.body_type is not None:
                    assert b"NUL" in answer.content, (operation.name, place, answer)


@asynchronous
async def test_nothing_breaks_and_everybody_can_hold_what_is_kept(tmp_path: Path, database: str):
    seed = int(os.environ.get("HOSTILE_SEED") or SystemRandom().randrange(2**32))
    print(f"HOSTILE_SEED={seed}")
    async with world(tmp_path) as here:
        amy = await here.client("amy")
        assert (await amy.post("/compute/v2.1/os-keypairs", GOOD["POST /os-keypairs"])).status == 201
        server_id = (await amy.post("/compute/v2.1/servers", new_server())).body["server"]["id"]
        await here.advance()
        image_id = (await amy.post("/image/v2/images", {"name": "mine"})).body["id"]
        names = {
            "server_id": server_id, "image_id": image_id, "flavor_id": "1", "network_id": NETWORK,
            "subnet_id": SUBNET, "key": "key", "tag": "t", "name": "k",
        }  # fmt: skip
        attacker = Attacker(here, Random(seed), names)
        taken = 0
        for number in range(REQUESTS):
            operation, path, body, answer = await attacker.send("root" if number % 3 == 0 else "amy")
            if answer.status == 500:
                pytest.fail(f"{operation.name} {path[:200]} {(body or b'')[:400]!r}: {answer}")
            taken += answer.status < 300 and operation.method != "GET"
            if number % 50 == 0:
                await here.advance()
        logs = [await _log(store) for store in (here.store, here.registry._store)]
        async with await connect(database, "test") as connection:
            rows = PostgresRows(connection, await builds_in_force(connection, PROJECTIONS))
            await rows.open()
            for log in logs:
                await rows.apply(log)
            assert await rows.parked() == []
        disorder = Disorder()
        kinds = [flavor.KIND, keypair.KIND, network.KIND, image.KIND, quota.KIND]
        await Registry(here.registry._store, here.stamp, kinds, disorder).read_once()
        assert disorder.facts == {}
        assert taken > 30
