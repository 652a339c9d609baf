"""What the processes of the control plane have in common."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property, partial

from adapters.mapper import EventMapper
from adapters.nats.commands import NatsCommandBus
from adapters.nats.connection import Connection, Credentials, connect
from adapters.nats.liveness import NatsLiveness
from adapters.nats.positions import NatsPositions
from adapters.nats.soundness import Recovered
from adapters.nats.store import NatsEventStore
from adapters.nats.streams import ensure_cell
from adapters.nats.vault import NatsVault
from adapters.sealed_texts import SealedTexts
from adapters.system import SystemClock, SystemIds
from domain.errors import Invalid, Unavailable
from domain.kinds import EVENTS
from domain.log.record import Recorded
from handlers.cells import Cell, Cells
from handlers.context import Stamp
from handlers.fleet.refusals import Refusals
from ops.settings import NatsSettings, Settings

CONNECT_SECONDS = 60.0
"""A process started before the log is up waits for so long."""
COMMAND_SECONDS = 5.0
"""Who has typed a command waits for no longer than that to be told that the log does not answer."""
CHECK_SECONDS = 5.0
"""Between two looks whether the logs are whole."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plane:
    """One process's access to the logs of its cell and of the API cell."""

    settings: Settings
    connection: Connection
    stamp: Stamp
    store: NatsEventStore
    api_store: NatsEventStore
    bus: NatsCommandBus
    liveness: NatsLiveness
    positions: NatsPositions
    vault: NatsVault
    api_vault: NatsVault
    refusals: Refusals
    """What hosts have said wrongly, as this process has met it."""

    @cached_property
    def cells(self) -> Cells:
        """The cells whose servers this process speaks of."""
        seals_texts = bool(self.settings.erasure.seal)
        return Cells(Cell(self.store, self.bus, self.vault, self.stamp, seals_texts=seals_texts))

    @property
    def stores(self) -> tuple[NatsEventStore, ...]:
        """The logs, each once."""
        one = self.store.cell == self.api_store.cell
        return (self.store,) if one else (self.store, self.api_store)

    async def event_at(self, cell: str, position: int) -> Recorded | None:
        """The event of a cell at a position, as the log has it: sealed is what was sealed. None if there is none.
        Raises Unavailable."""
        (store,) = (store for store in self.stores if store.cell == cell)
        return await store.stored_at(position)

    @property
    def damage(self) -> list[str]:
        """What is wrong with the logs, a sentence each."""
        return [store.soundness.damage for store in self.stores if store.soundness.damage]

    async def watch(self) -> None:
        """Look after the logs until cancelled. Raises Recovered once one goes on after a damage: what this process
        remembers is of the time before, and it has to be started anew."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            for store in self.stores:
                try:
                    await store.soundness.check()
                except Recovered:
                    raise
                except Unavailable as error:
                    log.debug("the log of %s cannot be looked at now: %s", store.cell, error)


async def open_connection(settings: NatsSettings, role: str, patience: float = CONNECT_SECONDS) -> Connection:
    """Connect as the configured user. Raises Unavailable."""
    credentials = None
    if settings.user and settings.password_file:
        credentials = Credentials(settings.user, settings.password_file.read_text().strip())
    return await connect(settings.url, f"lightcurve-{role}", credentials, patience, tls_context(settings))


def tls_context(settings: NatsSettings) -> ssl.SSLContext | None:
    """How NATS is spoken inside TLS; None: it is not. Raises Invalid."""
    if bool(settings.certificate_file) != bool(settings.key_file):
        raise Invalid("[nats] certificate_file and key_file go together.")
    if not settings.ca_file and not settings.url.startswith("tls://"):
        return None
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
        if settings.certificate_file:
            context.load_cert_chain(settings.certificate_file, settings.key_file)
    except OSError as error:
        raise Invalid(f"[nats] ca_file, certificate_file or key_file cannot be used: {error}") from None
    return context


@asynccontextmanager
async def open_plane(settings: Settings, role: str, patience: float = CONNECT_SECONDS) -> AsyncIterator[Plane]:
    """Connect, and see that the streams are there and as they must be."""
    connection = await open_connection(settings.nats, role, patience)
    refusals = Refusals()
    try:
        mapper = EventMapper(EVENTS)
        texts = SealedTexts(partial(NatsVault, connection), settings.erasure.seal)
        for cell in (settings.cell, settings.api_cell):
            await ensure_cell(connection, cell)
        plane = Plane(
            settings=settings,
            connection=connection,
            stamp=Stamp(SystemClock(), SystemIds()),
            store=NatsEventStore(connection, settings.cell, mapper, texts),
            api_store=NatsEventStore(connection, settings.api_cell, mapper, texts),
            bus=NatsCommandBus(connection, settings.cell, refusals=refusals),
            liveness=NatsLiveness(connection, settings.cell, refusals),
            positions=NatsPositions(connection),
            vault=NatsVault(connection, settings.cell),
            api_vault=NatsVault(connection, settings.api_cell),
            refusals=refusals,
        )
        for store in plane.stores:
            store.soundness.has_archive = bool(settings.database.url)
            await store.soundness.open()
        yield plane
    finally:
        await connection.close()
