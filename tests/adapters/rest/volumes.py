"""How tests ask for volumes."""

from typing import Any

from tests.adapters.rest.client import Answer, Client
from tests.adapters.rest.world import World

ROOT = "/volume/v3"
VOLUMES, SNAPSHOTS, ATTACHMENTS, TYPES = (
    f"{ROOT}/{noun}" for noun in ("volumes", "snapshots", "attachments", "types")
)


def at(client: Client, minor: int = 54) -> Client:
    """The same caller, at a microversion of volumes."""
    return _Versioned(client.app, client.token, f"3.{minor}")


class _Versioned(Client):
    def _scope(
        self, method: str, path: str, query: dict[str, Any] | None, headers: dict[str, str] | None, content: bytes
    ) -> dict[str, Any]:
        named = {"openstack-api-version": f"volume {self.microversion}"} | (headers or {})
        return super()._scope(method, path, query, named, content)


async def user(world: World, name: str, minor: int = 54) -> Client:
    return at(await world.client(name), minor)


async def create(client: Client, **fields: Any) -> str:
    answer = await client.post(VOLUMES, {"volume": {"size": 1} | fields})
    assert answer.status == 202, answer
    return str(answer.body["volume"]["id"])


async def snapshot(client: Client, volume_id: str, **fields: Any) -> str:
    answer = await client.post(SNAPSHOTS, {"snapshot": {"volume_id": volume_id} | fields})
    assert answer.status == 202, answer
    return str(answer.body["snapshot"]["id"])


async def act(client: Client, volume_id: str, action: str, argument: Any = None) -> Answer:
    return await client.post(f"{VOLUMES}/{volume_id}/action", {action: argument})


async def shown(client: Client, volume_id: str) -> Any:
    return (await client.get(f"{VOLUMES}/{volume_id}")).body["volume"]
