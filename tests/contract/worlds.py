"""The places where a contract is tried: in memory, and on the real NATS server."""

import asyncio
import itertools
import uuid
from collections.abc import Collection
from datetime import UTC, datetime
from functools import partial
from typing import Any, Self

from adapters.mapper import EventMapper
from adapters.memory.broker import Broker, Faults
from adapters.memory.commands import MemoryCommandBus
from adapters.memory.signs import MemoryLiveness, MemoryPositions
from adapters.memory.store import MemoryEventStore
from adapters.memory.vault import MemoryVault
from adapters.nats.commands import NatsCommandBus
from adapters.nats.connection import Connection, Credentials, connect
from adapters.nats.liveness import NatsLiveness
from adapters.nats.positions import NatsPositions
from adapters.nats.store import NatsEventStore
from adapters.nats.streams import ensure_cell
from adapters.nats.vault import NatsVault
from adapters.sealed_texts import SealedTexts
from domain.log.record import AggregateId, Event, Metadata
from handlers.ports import CommandBus, EventStore, Liveness, Positions, Vault
from ops.embedded.nats import EmbeddedNats
from ops.embedded.nats_accounts import CONTROL

ACK_WAIT = 0.4
REPORT_TIMEOUT = 0.8


class Happened(Event, tag="sample.happened"):
    what: str = ""
    number: int = 0


class Grown(Event, tag="sample.grown"):
    by: int


MAPPER = EventMapper([Happened, Grown])
_cells = itertools.count(1)


def meta(**fields: Any) -> Metadata:
    known = {
        "event_id": str(uuid.uuid4()),
        "time": datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
        "request_id": "req-1",
        "user_id": "alice",
        "project_id": "blue",
    }
    return Metadata(**known | fields)


def aggregate(id_: str = "one", kind: str = "sample") -> AggregateId:
    return AggregateId(kind, id_)


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class MemoryWorld:
    def __init__(self, faults: Faults | None = None) -> None:
        self.cell = "memory"
        self.faults = faults

    async def __aenter__(self) -> Self:
        self.broker = Broker(SystemClock(), ack_wait=ACK_WAIT)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.broker.close()

    async def store(self, mapper: EventMapper = MAPPER, *, seals: Collection[str] | None = None) -> EventStore:
        return MemoryEventStore(self.broker, self.cell, mapper, self.faults, self._texts(seals))

    def _texts(self, seals: Collection[str] | None) -> SealedTexts | None:
        return None if seals is None else SealedTexts(partial(MemoryVault, self.broker), seals)

    async def bus(self) -> CommandBus:
        return MemoryCommandBus(self.broker, self.cell, self.faults, report_timeout=REPORT_TIMEOUT)

    async def liveness(self) -> Liveness:
        return MemoryLiveness(self.broker, self.cell, self.faults)

    async def positions(self) -> Positions:
        return MemoryPositions(self.broker, self.faults)

    async def vault(self) -> Vault:
        return MemoryVault(self.broker, self.cell, self.faults)


class NatsWorld:
    """Every port has a connection of its own, as if it belonged to another process."""

    def __init__(self, server: EmbeddedNats, url: str | None = None, cell: str | None = None) -> None:
        self.server = server
        self.url = url or server.url
        self.cell = cell or f"cell{next(_cells)}"
        self._connections: list[Connection] = []

    async def __aenter__(self) -> Self:
        await ensure_cell(await self.connection(), self.cell)
        return self

    async def __aexit__(self, *_: object) -> None:
        for connection in self._connections:
            await connection.close()

    async def connection(self, user: str = CONTROL, url: str | None = None) -> Connection:
        return await self._connect(user, self.server.credentials(user), url)

    async def of_host(self, host: str) -> Connection:
        """As a host of the server's cell, with its own credential."""
        key = self.server.hosts.get(host)
        assert key
        return await self._connect(host, key.credentials)

    async def _connect(self, name: str, credentials: Credentials, url: str | None = None) -> Connection:
        connection = await connect(url or self.url, f"test {name}", credentials)
        self._connections.append(connection)
        return connection

    async def store(self, mapper: EventMapper = MAPPER, *, seals: Collection[str] | None = None) -> EventStore:
        connection = await self.connection()
        texts = None if seals is None else SealedTexts(partial(NatsVault, connection), seals)
        return NatsEventStore(connection, self.cell, mapper, texts)

    async def bus(self) -> CommandBus:
        return NatsCommandBus(await self.connection(), self.cell, ack_wait=ACK_WAIT, report_timeout=REPORT_TIMEOUT)

    async def liveness(self) -> Liveness:
        return NatsLiveness(await self.connection(), self.cell)

    async def positions(self) -> Positions:
        return NatsPositions(await self.connection())

    async def vault(self) -> Vault:
        return NatsVault(await self.connection(), self.cell)


World = MemoryWorld | NatsWorld
