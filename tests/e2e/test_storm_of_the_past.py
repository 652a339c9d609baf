"""Ten thousand random commands over all faces of a real stack, many at once, with questions of the moment in between.

Asked again for its moment, each is answered the same, byte for byte: also after every projection was built anew, and
by another cloud into which the logs were imported.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple
from uuid import UUID

import pytest

from ops.bench.http import Client
from tests.e2e.live_stack import Answer, LiveStack

COMMANDS, CLIENTS, ASKING_EVERY, MOMENTS_KEPT = 10_000, 8, 60, 150
COMPUTE, PLACEMENT, IMAGES, NETWORKS = "/compute/v2.1", "/placement", "/image/v2/images", "/network/v2.0/networks"
SERVERS = f"{COMPUTE}/servers"
POSITION = "lightcurve-position"
VERSIONS = "compute 2.100, placement 1.39"
PROJECTIONS = ("servers", "instance_actions", "hosts", "event_log", "console_sessions")
PORT = re.compile(rb"(?<=//127\.0\.0\.1:)\d+")
"""Two stacks are reached by different ports, and links say so."""

OF_COMPUTE = (
    f"{SERVERS}/detail?sort_key=display_name&sort_dir=asc&limit=20",
    f"{SERVERS}?name=a&limit=50",
    f"{SERVERS}/detail?status=SHUTOFF&limit=20",
    f"{SERVERS}/detail?tags=red&limit=20",
    f"{COMPUTE}/flavors/detail?is_public=None",
    f"{COMPUTE}/os-keypairs",
    f"{COMPUTE}/limits",
)
OF_SERVER = ("", "/os-instance-actions", "/ips", "/tags")
OF_OPERATORS = (
    f"{SERVERS}/detail?all_tenants=1&limit=50",
    f"{SERVERS}/detail?all_tenants=1&deleted=1&limit=20",
    f"{COMPUTE}/os-hypervisors/detail",
    f"{COMPUTE}/os-services",
    f"{PLACEMENT}/resource_providers",
    f"{PLACEMENT}/allocation_candidates?resources=VCPU:1,MEMORY_MB:64&limit=5",
    f"{PLACEMENT}/traits?name=startswith:CUSTOM_",
    f"{PLACEMENT}/resource_classes",
)


class Told(NamedTuple):
    """What was answered at a moment."""

    moment: str
    who: str
    path: str
    answer: bytes


def anonymous(body: bytes) -> bytes:
    return PORT.sub(b"", body)


class Faces:
    """One user's connections: Placement has a port of its own."""

    def __init__(self, stack: LiveStack, token: str) -> None:
        headers = {"X-Auth-Token": token, "OpenStack-API-Version": VERSIONS}
        self._main = Client("127.0.0.1", int(stack.ports[3]), headers)
        self._placement = Client("127.0.0.1", stack.placement_port, headers)

    async def request(self, method: str, path: str, body: object = None, as_of: str | None = None) -> Answer:
        client = self._placement if path.startswith(PLACEMENT) else self._main
        if as_of:
            client.headers["Lightcurve-As-Of"] = as_of
        answer = await client.request(method, path.removeprefix(PLACEMENT), body)
        client.headers.pop("Lightcurve-As-Of", None)
        return Answer(*answer)

    def close(self) -> None:
        self._main.close()
        self._placement.close()


class Storm:
    def __init__(self, stack: LiveStack, seed: int) -> None:
        self.stack = stack
        self.dice = Random(seed)
        self.tokens = {"admin": stack.token(), "demo": stack.token("demo", "demo")}
        self.image = stack.call("GET", f"{IMAGES}?name=tiny").json()["images"][0]["id"]
        self.network = stack.call("GET", f"{NETWORKS}?name=private").json()["networks"][0]["id"]
        self.servers: list[tuple[str, str]] = []
        self.providers: list[str] = []
        self.told: list[Told] = []
        self.failures: list[str] = []
        self.left = COMMANDS

    async def blow(self) -> None:
        await asyncio.gather(*(self._work() for _ in range(CLIENTS)))

    async def _work(self) -> None:
        clients = {who: Faces(self.stack, token) for who, token in self.tokens.items()}
        deeds = (
            self.create, self.create, self.act, self.act, self.act, self.detail, self.delete, self.delete,
            self.keypair, self.flavor, self.quota, self.host, self.image_record, self.network_record,
            self.provider, self.inventory, self.claim, self.trait,
        )  # fmt: skip
        while self.left > 0:
            self.left -= 1
            deed: Callable[[str, Faces], Awaitable[None]] = self.dice.choice(deeds)
            who = self.dice.choice(("admin", "demo"))
            await deed(who, clients[who if deed not in (self.flavor, self.quota, self.host) else "admin"])
            if self.left % ASKING_EVERY == 0:
                await self.ask(clients)
        for client in clients.values():
            client.close()

    async def _do(self, client: Faces, method: str, path: str, body: object = None) -> Answer:
        answer = await client.request(method, path, body)
        if answer.status >= 500 and answer.status != 503:
            self.failures.append(f"{method} {path}: {answer}")
        return answer

    async def create(self, who: str, client: Faces) -> None:
        wanted = {
            "name": f"{self.dice.choice('abc')}{self.left}", "flavorRef": "42", "imageRef": self.image,
            "networks": [{"uuid": self.network}], "tags": self.dice.sample(["red", "blue"], self.dice.randrange(3)),
        }  # fmt: skip
        answer = await self._do(client, "POST", SERVERS, {"server": wanted})
        if answer.status == 202:
            self.servers.append((who, answer.json()["server"]["id"]))

    def _one(self, who: str) -> str:
        mine = [server for owner, server in self.servers[-60:] if owner == who]
        return self.dice.choice(mine) if mine else str(UUID(int=0))

    async def act(self, who: str, client: Faces) -> None:
        action = self.dice.choice(["os-stop", "os-start", "pause", "unpause", "suspend", "resume", "lock", "unlock"])
        await self._do(client, "POST", f"{SERVERS}/{self._one(who)}/action", {action: None})

    async def detail(self, who: str, client: Faces) -> None:
        path = f"{SERVERS}/{self._one(who)}"
        where, body = self.dice.choice(
            [
                ("", {"server": {"name": f"renamed{self.left}"}}),
                ("/tags", {"tags": self.dice.sample(["red", "green"], 1)}),
                ("/metadata", {"metadata": {"n": str(self.left)}}),
            ]
        )
        await self._do(client, "PUT", path + where, body)

    async def delete(self, who: str, client: Faces) -> None:
        await self._do(client, "DELETE", f"{SERVERS}/{self._one(who)}")

    async def keypair(self, _who: str, client: Faces) -> None:
        name = f"k{self.dice.randrange(3)}"
        if self.dice.random() < 0.5:
            await self._do(client, "POST", f"{COMPUTE}/os-keypairs", {"keypair": {"name": name, "public_key": KEY}})
        else:
            await self._do(client, "DELETE", f"{COMPUTE}/os-keypairs/{name}")

    async def flavor(self, _who: str, client: Faces) -> None:
        identity = f"f{self.dice.randrange(3)}"
        if self.dice.random() < 0.5:
            flavor = {"id": identity, "name": identity, "vcpus": 1, "ram": 64, "disk": 1}
            await self._do(client, "POST", f"{COMPUTE}/flavors", {"flavor": flavor})
        else:
            await self._do(client, "DELETE", f"{COMPUTE}/flavors/{identity}")

    async def quota(self, _who: str, client: Faces) -> None:
        projects = (await self._do(client, "GET", "/identity/v3/projects")).json()["projects"]
        body = {"quota_set": {"instances": self.dice.randrange(20, 60)}}
        await self._do(client, "PUT", f"{COMPUTE}/os-quota-sets/{self.dice.choice(projects)['id']}", body)

    async def host(self, _who: str, client: Faces) -> None:
        services = (await self._do(client, "GET", f"{COMPUTE}/os-services?binary=nova-compute")).json()["services"]
        status = self.dice.choice(["enabled", "enabled", "disabled"])
        await self._do(client, "PUT", f"{COMPUTE}/os-services/{self.dice.choice(services)['id']}", {"status": status})

    async def image_record(self, _who: str, client: Faces) -> None:
        body = {"name": "record", "disk_format": "raw", "container_format": "bare"}
        made = await self._do(client, "POST", IMAGES, body)
        if made.status == 201:
            await self._do(client, "DELETE", f"{IMAGES}/{made.json()['id']}")

    async def network_record(self, _who: str, client: Faces) -> None:
        made = await self._do(client, "POST", NETWORKS, {"network": {"name": "record"}})
        if made.status == 201:
            await self._do(client, "DELETE", f"{NETWORKS}/{made.json()['network']['id']}")

    async def provider(self, _who: str, client: Faces) -> None:
        identity = str(UUID(int=self.dice.randrange(1, 6) << 64))
        if self.dice.random() < 0.7:
            body = {"uuid": identity, "name": f"own-{identity[:8]}"}
            await self._do(client, "POST", f"{PLACEMENT}/resource_providers", body)
        else:
            await self._do(client, "DELETE", f"{PLACEMENT}/resource_providers/{identity}")

    async def _own(self, client: Faces) -> dict[str, object] | None:
        found = (await self._do(client, "GET", f"{PLACEMENT}/resource_providers?name=own-00000000")).json()
        own: list[dict[str, object]] = found.get("resource_providers", [])
        return own[0] if own else None

    async def inventory(self, _who: str, client: Faces) -> None:
        provider = await self._own(client)
        if provider:
            body = {
                "resource_provider_generation": provider["generation"],
                "inventories": {"VCPU": {"total": self.dice.randrange(4, 64)}},
            }
            await self._do(client, "PUT", f"{PLACEMENT}/resource_providers/{provider['uuid']}/inventories", body)

    async def claim(self, _who: str, client: Faces) -> None:
        provider, consumer = await self._own(client), str(UUID(int=self.dice.randrange(1, 9)))
        if provider and self.dice.random() < 0.7:
            body = {
                "allocations": {provider["uuid"]: {"resources": {"VCPU": self.dice.randrange(1, 4)}}},
                "project_id": "p", "user_id": "u", "consumer_generation": None, "consumer_type": "TEST",
            }  # fmt: skip
            await self._do(client, "PUT", f"{PLACEMENT}/allocations/{consumer}", body)
        else:
            await self._do(client, "DELETE", f"{PLACEMENT}/allocations/{consumer}")

    async def trait(self, _who: str, client: Faces) -> None:
        method = self.dice.choice(("PUT", "DELETE"))
        await self._do(client, method, f"{PLACEMENT}/traits/CUSTOM_{self.dice.randrange(5)}")

    async def ask(self, clients: dict[str, Faces]) -> None:
        """Of the moment, while the others go on."""
        questions = [(who, path) for who in clients for path in OF_COMPUTE]
        questions += [("admin", path) for path in OF_OPERATORS]
        for who, server in self.servers[-4:]:
            questions += [(who, f"{SERVERS}/{server}{part}") for part in OF_SERVER]
            questions.append(("admin", f"{PLACEMENT}/allocations/{server}"))
        for who, path in self.dice.sample(questions, 8):
            answer = await clients[who].request("GET", path, as_of="now")
            if answer.status == 200:
                self.told.append(Told(answer.headers[POSITION], who, path, anonymous(answer.body)))
            elif answer.status != 404:
                self.failures.append(f"as of now {path}: {answer}")

    async def ask_again(self, stack: LiveStack) -> None:
        """Every answer for its moment, of this stack or of another one."""
        stack.forget_tokens()
        clients = {who: Faces(stack, stack.token(who, who)) for who in self.tokens}
        for moment, who, path, then in self.told:
            answer = await clients[who].request("GET", path, as_of=moment)
            assert (answer.status, anonymous(answer.body)) == (200, then), f"{path} of {who} at {moment}"
            assert answer.headers[POSITION] == moment
        for client in clients.values():
            client.close()


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMdQAJcFC9SPTz9mSfqtpPC9REkYI2rLvnc3hVaaaaaa storm"


@pytest.fixture
def stacks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LiveStack, LiveStack]]:
    first, second = (LiveStack(tmp_path_factory.mktemp(name), "--simulated-hosts", "5") for name in ("one", "two"))
    first.up()
    yield first, second
    first.down()
    second.down()


@pytest.mark.long
def test_the_past_stays_what_it_was(stacks: tuple[LiveStack, LiveStack], tmp_path: Path) -> None:
    first, second = stacks
    storm = Storm(first, 20)
    asyncio.run(storm.blow())
    assert storm.failures == [], first.logs()
    assert len({told.moment for told in storm.told}) > MOMENTS_KEPT
    asyncio.run(storm.ask_again(first))

    for projection in PROJECTIONS:
        first.lightcurve("rebuild", projection)
    asyncio.run(storm.ask_again(first))
    first.lightcurve("checkpoint")
    verified = first.lightcurve("verify", "--redecide").stdout
    assert verified.endswith("each is as it was recorded.\n"), verified

    keys = tmp_path / "keys"
    keys.write_text(first.lightcurve("checkpoint", "--key").stdout)
    first.lightcurve("log", "export", str(tmp_path / "out"))
    first.lightcurve("down")
    second.lightcurve("log", "import", str(tmp_path / "out"), "--key", str(keys), *second.ports)
    second.up()
    asyncio.run(storm.ask_again(second))
