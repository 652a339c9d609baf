"""Random commands, with questions in between: later, each is answered for its moment as it was answered then."""

from collections.abc import Awaitable, Callable
from random import Random

import pytest

from tests.adapters.rest.client import Answer, Client
from tests.adapters.rest.conftest import MakeWorld
from tests.adapters.rest.test_as_of import AS_OF, KEY, V2, known
from tests.adapters.rest.test_servers import SERVERS
from tests.adapters.rest.world import API, BLUE, CELL, GREEN, World, new_server
from tests.aio import asynchronous

WHO = {"amy": BLUE, "eve": GREEN}
LISTS = (
    SERVERS,
    f"{SERVERS}/detail",
    f"{SERVERS}/detail?sort_key=display_name&sort_dir=asc&limit=3",
    f"{SERVERS}?name=a",
    f"{SERVERS}/detail?status=SHUTOFF",
    f"{SERVERS}/detail?tags=red",
    f"{SERVERS}/detail?changes-since=2030-01-01T00:00:09Z",
    f"{V2}/flavors/detail",
    f"{V2}/os-keypairs",
    f"{V2}/limits",
)
OF_OPERATORS = (
    f"{V2}/os-hypervisors/detail",
    f"{V2}/os-hypervisors/detail?with_servers=true",
    f"{V2}/os-availability-zone/detail",
    f"{SERVERS}/detail?all_tenants=1",
    f"{SERVERS}/detail?all_tenants=1&deleted=1",
    f"{SERVERS}?all_tenants=1&host=node1",
    f"{V2}/os-quota-sets/{BLUE}/detail",
    f"{V2}/os-quota-sets/{GREEN}/detail",
)
OF_SERVER = ("", "/ips", "/metadata", "/tags", "/os-instance-actions", "/os-interface", "/diagnostics")


class Storm:
    def __init__(self, world: World, clients: dict[str, Client], seed: int) -> None:
        self.world = world
        self.clients = clients
        self.random = Random(seed)
        self.servers: list[tuple[str, str]] = []
        self.made = 0
        self.told: list[tuple[str, str, str, Answer]] = []
        """Moment, who asked, what, and the answer."""

    async def command(self) -> None:
        commands: list[Callable[[], Awaitable[object]]] = [
            self.create, self.create, self.act, self.act, self.detail, self.delete, self.keypair, self.flavor,
            self.quota, self.host,
        ]  # fmt: skip
        await self.random.choice(commands)()
        if self.random.random() < 0.7:
            await self.world.advance()
        self.world.clock.advance(self.random.choice((0.25, 1, 3)))

    async def create(self) -> None:
        name = self.random.choice(list(WHO))
        self.made += 1
        tags = self.random.sample(["red", "blue"], self.random.randrange(3))
        body = new_server(name=f"{self.random.choice('abc')}{self.made}", tags=tags, flavorRef="1")
        answer = await self.clients[name].post(SERVERS, body)
        if answer.status == 202:
            self.servers.append((name, answer.body["server"]["id"]))

    async def act(self) -> None:
        if self.servers:
            name, server = self.random.choice(self.servers)
            action = self.random.choice(
                ["os-stop", "os-start", "pause", "unpause", "suspend", "resume", "lock", "unlock"]
            )
            await self.clients[name].post(f"{SERVERS}/{server}/action", {action: None})

    async def detail(self) -> None:
        if self.servers:
            name, server = self.random.choice(self.servers)
            client, path = self.clients[name], f"{SERVERS}/{server}"
            match self.random.randrange(3):
                case 0:
                    await client.put(path, {"server": {"name": f"renamed{self.made}"}})
                case 1:
                    await client.put(f"{path}/tags", {"tags": self.random.sample(["red", "green"], 1)})
                case _:
                    await client.put(f"{path}/metadata", {"metadata": {"n": str(self.made)}})

    async def delete(self) -> None:
        if self.servers:
            name, server = self.random.choice(self.servers)
            await self.clients[name].delete(f"{SERVERS}/{server}")

    async def keypair(self) -> None:
        client, name = self.clients[self.random.choice(list(WHO))], f"k{self.random.randrange(3)}"
        if self.random.random() < 0.5:
            await client.post(f"{V2}/os-keypairs", {"keypair": {"name": name, "type": "ssh", "public_key": KEY}})
        else:
            await client.delete(f"{V2}/os-keypairs/{name}")

    async def flavor(self) -> None:
        identity = f"f{self.random.randrange(3)}"
        if self.random.random() < 0.5:
            body = {"flavor": {"id": identity, "name": identity, "vcpus": 1, "ram": 64, "disk": 1}}
            await self.clients["root"].post(f"{V2}/flavors", body)
        else:
            await self.clients["root"].delete(f"{V2}/flavors/{identity}")

    async def quota(self) -> None:
        project = self.random.choice(list(WHO.values()))
        body = {"quota_set": {"instances": self.random.randrange(5, 50)}}
        await self.clients["root"].put(f"{V2}/os-quota-sets/{project}", body)

    async def host(self) -> None:
        host = self.world.services.fleet.named("node2")
        assert host
        services = (await self.clients["root"].get(f"{V2}/os-services", host="node2")).body["services"]
        status = self.random.choice(["enabled", "disabled"])
        await self.clients["root"].put(f"{V2}/os-services/{services[0]['id']}", {"status": status})

    async def ask(self) -> None:
        positions = {CELL: await self.world.store.last_position(), API: await self.world.last_of_api()}
        moment = ",".join(f"{cell}={position}" for cell, position in sorted(positions.items()))
        questions = [(name, path) for name in WHO for path in LISTS] + [("root", path) for path in OF_OPERATORS]
        questions += [
            (name, f"{SERVERS}/{server}{part}") for name, server in self.servers[-12:] for part in OF_SERVER
        ]
        for name, path in self.random.sample(questions, min(20, len(questions))):
            self.told.append((moment, name, path, await self.clients[name].get(path)))

    async def ask_again(self) -> None:
        for moment, name, path, then in self.told:
            now = await self.clients[name].request("GET", path, headers={AS_OF: moment})
            where = f"{path} of {name} at {moment}"
            assert now.status == then.status, (where, now)
            if now.status == 200:
                assert known(now, path) == known(then, path), where


async def storm(cloud: MakeWorld, seed: int, commands: int, questions: int) -> None:
    async with cloud() as world:
        clients = {name: await world.client(name) for name in (*WHO, "root")}
        storm = Storm(world, clients, seed)
        asking = set(storm.random.sample(range(commands), questions))
        for number in range(commands):
            await storm.command()
            if number in asking:
                await storm.ask()
        assert len({moment for moment, *_ in storm.told}) > questions // 2
        await storm.ask_again()


@pytest.mark.parametrize("seed", range(3))
@asynchronous
async def test_a_short_storm(cloud: MakeWorld, seed: int):
    await storm(cloud, seed, commands=60, questions=12)


@pytest.mark.long
@asynchronous
async def test_a_long_storm(cloud: MakeWorld):
    await storm(cloud, 1000, commands=10_000, questions=150)
