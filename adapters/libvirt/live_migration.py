"""Moving a running guest to another host, begun and watched at its source.

libvirtd itself sends it to the other libvirtd, so a migration goes on while its agent is started anew: whoever asks
for it again joins it. What happens if one of the ends dies is in ``holding``.
"""

import asyncio
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import libvirt

from adapters.libvirt.connection import Connection
from adapters.libvirt.guests import find_domain
from adapters.libvirt.migration_xml import for_target, stands_alone
from domain.errors import HostFailed

GONE = "The server is not on the host where it should be."
ABORTED = "The migration was aborted."
FAILED = "The server could not be moved to the other host."
AT_ONCE = 2
"""Migrations that leave a host at a time; the others wait. Each takes as long as it takes."""
LOOK_SECONDS = 0.5
"""Between two looks at a migration that was joined."""
REPORT_SECONDS = 2.0
"""How long the report of one that has ended may take to come."""
KEEP_COMPLETED = libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED | libvirt.VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED
NOT_LEAVING = {
    libvirt.VIR_ERR_NO_DOMAIN,
    libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
    libvirt.VIR_ERR_OPERATION_INVALID,
}
"""What libvirt says of a guest that it does not send: it is not there, nothing is done with it, or it is off, as it
is for a moment when it has gone."""
FLAGS = (
    libvirt.VIR_MIGRATE_LIVE
    | libvirt.VIR_MIGRATE_PERSIST_DEST
    | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
    | libvirt.VIR_MIGRATE_PEER2PEER
)


@dataclass(frozen=True, kw_only=True)
class Migration:
    """What is asked for."""

    server_id: str
    target_uri: str
    """Of the other libvirtd, as ours reaches it."""
    wanted: str
    """The other host's definition of the guest; its files are there already."""
    copied: tuple[str, ...] = ()
    """The disks (``vda``) that both hosts have each for itself: what the guest has written is sent, too. All others
    have to be common to both hosts."""
    bandwidth: int = 0
    """MiB a second; 0: no limit."""
    slows_down: bool = False
    """A guest that writes faster than is sent gets less and less of the processor."""
    post_copy: bool = False
    """It may be completed by running on at the target before its memory is there: then it is lost if one end dies."""


class Progress(NamedTuple):
    """Of a migration under way: bytes of memory and of disks, and what QEMU expects of its end."""

    seconds: float
    memory_total: int
    memory_processed: int
    memory_remaining: int
    disk_total: int
    disk_processed: int
    disk_remaining: int
    dirtied: int
    """A second, of memory, as last measured."""
    downtime_ms: int


class Report(NamedTuple):
    """Of a migration that has ended well."""

    seconds: float
    downtime_ms: int
    sent: int
    """Bytes."""


class LiveMigrations:
    """Those that leave one host. Beside what each says, all raise Unavailable while its libvirtd does not answer."""

    def __init__(self, uri: str, home: str, at_once: int = AT_ONCE) -> None:
        self._home = home
        # A migration keeps a thread for as long as it takes: what ends it must not wait for one.
        self._moving = Connection(uri)
        self._asking = Connection(uri)
        self._room = asyncio.Semaphore(at_once)
        self._waiting: Counter[str] = Counter()

    async def close(self) -> None:
        """What is under way goes on."""
        await self._moving.close()
        await self._asking.close()

    async def run(self, migration: Migration) -> Report | None:
        """Move it, or wait for the end of the migration that is under way.

        None if the guest has gone, but nobody has heard how. Raises HostFailed if it stays, with the reason in the
        details; that the guest ended in the middle is one. Unavailable says nothing of where it is.
        """
        if await self.progress(migration.server_id) is not None:
            return await self._join(migration.server_id)
        self._waiting[migration.server_id] += 1
        try:
            await self._room.acquire()
        finally:
            self._waiting[migration.server_id] -= 1
        try:
            return await self._moving.call(lambda conn: _move(conn, self._home, migration))
        finally:
            self._room.release()

    def waits(self, server_id: str) -> bool:
        """Whether others have to leave first, so that nothing is begun yet."""
        return self._waiting[server_id] > 0

    async def progress(self, server_id: str) -> Progress | None:
        """How far it is; None if it does not leave. May take seconds while QEMU is busy."""
        return await self._asking.call(lambda conn: _progress(conn, self._home, server_id))

    async def abort(self, server_id: str) -> bool:
        """Have the guest stay; whether it was leaving. It goes on here while ``run`` raises HostFailed."""
        return await self._asking.call(lambda conn: _abort(conn, self._home, server_id))

    async def complete(self, server_id: str, *, post_copy: bool = False) -> bool:
        """Have it end soon, whatever the guest writes: by post-copy if the migration allows it, else by pausing the
        guest until it is there. Whether it was leaving."""
        return await self._asking.call(lambda conn: _complete(conn, self._home, server_id, post_copy))

    async def _join(self, server_id: str) -> Report | None:
        while True:
            if await self.progress(server_id) is None:
                break
            await asyncio.sleep(LOOK_SECONDS)
        if await self._asking.call(lambda conn: _is_active(conn, self._home, server_id)):
            raise HostFailed(ABORTED, "it was joined; its reason is not known")
        return None


def _find(conn: Any, home: str, server_id: str) -> Any:
    """The domain. Raises HostFailed if there is none of ours."""
    if find_domain(conn, home, server_id) is None:
        raise HostFailed(GONE)
    return conn.lookupByUUIDString(server_id)


def _move(conn: Any, home: str, migration: Migration) -> Report | None:
    domain = _find(conn, home, migration.server_id)
    running = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_MIGRATABLE | libvirt.VIR_DOMAIN_XML_SECURE)
    parameters: dict[str, Any] = {
        libvirt.VIR_MIGRATE_PARAM_DEST_XML: for_target(running, migration.wanted),
        libvirt.VIR_MIGRATE_PARAM_PERSIST_XML: migration.wanted,
    }
    # Whether a directory is shared libvirt judges by the kind of the file system only.
    flags = FLAGS | libvirt.VIR_MIGRATE_UNSAFE
    if migration.copied:
        # What the image says is at the target already: only what lies over it is sent. Of a disk that stands alone
        # all is sent, for it need not hold what its image says.
        alone = stands_alone(domain.XMLDesc(), migration.copied)
        flags |= libvirt.VIR_MIGRATE_NON_SHARED_DISK if alone else libvirt.VIR_MIGRATE_NON_SHARED_INC
        parameters[libvirt.VIR_MIGRATE_PARAM_MIGRATE_DISKS] = list(migration.copied)
    if migration.bandwidth:
        parameters[libvirt.VIR_MIGRATE_PARAM_BANDWIDTH] = migration.bandwidth
    if migration.slows_down:
        flags |= libvirt.VIR_MIGRATE_AUTO_CONVERGE
    if migration.post_copy and domain.state()[0] != libvirt.VIR_DOMAIN_PAUSED:
        # One that stands still writes nothing; libvirt refuses it so.
        flags |= libvirt.VIR_MIGRATE_POSTCOPY
    with _Ear(conn, domain) as ear:
        try:
            domain.migrateToURI3(migration.target_uri, parameters, flags)
        except libvirt.libvirtError as error:
            # That a libvirtd does not answer may be said of the other one.
            if not conn.isAlive():
                raise
            aborted = error.get_error_code() == libvirt.VIR_ERR_OPERATION_ABORTED
            raise HostFailed(ABORTED if aborted else FAILED, str(error)) from error
        return ear.report()


class _Ear:
    """Hears how one guest's migration has ended: afterwards the guest is not here any more to be asked."""

    def __init__(self, conn: Any, domain: Any) -> None:
        self._conn = conn
        self._said: dict[str, int] = {}
        self._heard = threading.Event()
        self._id = conn.domainEventRegisterAny(domain, libvirt.VIR_DOMAIN_EVENT_ID_JOB_COMPLETED, self._hear, None)

    def _hear(self, _conn: Any, _domain: Any, said: dict[str, int], _: object) -> None:
        self._said = said
        self._heard.set()

    def report(self) -> Report | None:
        if not self._heard.wait(REPORT_SECONDS):
            return None
        said = self._said
        return Report(said.get("time_elapsed", 0) / 1000, said.get("downtime", 0), said.get("data_processed", 0))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._conn.domainEventDeregisterAny(self._id)
        except libvirt.libvirtError:
            # The connection is lost, and what was registered with it.
            return


def downtime(conn: Any, server_id: str) -> int | None:
    """How long a guest that has come to the host of ``conn`` stood still on its way, in milliseconds."""
    try:
        domain = conn.lookupByUUIDString(server_id)
        said: dict[str, int] = domain.jobStats(KEEP_COMPLETED)
    except libvirt.libvirtError:
        # It is measured, and not always told.
        return None
    return said.get("downtime")


def _progress(conn: Any, home: str, server_id: str) -> Progress | None:
    said = _leaving(conn, home, server_id)
    if said is None:
        return None
    return Progress(
        seconds=said.get("time_elapsed", 0) / 1000,
        memory_total=said.get("memory_total", 0),
        memory_processed=said.get("memory_processed", 0),
        memory_remaining=said.get("memory_remaining", 0),
        disk_total=said.get("disk_total", 0),
        disk_processed=said.get("disk_processed", 0),
        disk_remaining=said.get("disk_remaining", 0),
        dirtied=said.get("memory_dirty_rate", 0) * said.get("memory_page_size", 0),
        downtime_ms=said.get("downtime", 0),
    )


def _leaving(conn: Any, home: str, server_id: str) -> dict[str, int] | None:
    """What libvirt says of the migration by which the guest leaves; None if there is none."""
    try:
        if find_domain(conn, home, server_id) is None:
            return None
        said: dict[str, int] = conn.lookupByUUIDString(server_id).jobStats()
    except libvirt.libvirtError as error:
        if error.get_error_code() in NOT_LEAVING:
            return None
        raise
    return said if said.get("operation") == libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT else None


def _abort(conn: Any, home: str, server_id: str) -> bool:
    if _leaving(conn, home, server_id) is None:
        return False
    _find(conn, home, server_id).abortJob()
    return True


def _complete(conn: Any, home: str, server_id: str, post_copy: bool) -> bool:
    said = _leaving(conn, home, server_id)
    if said is None:
        return False
    domain = _find(conn, home, server_id)
    if domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED:
        # Its user has paused it, or we have, or it runs on at its target: it writes nothing more here.
        return True
    # QEMU fails a post-copy that is asked for before memory is being sent.
    if post_copy and said.get("memory_processed", 0):
        domain.migrateStartPostCopy()
    else:
        domain.suspend()
    return True


def _is_active(conn: Any, home: str, server_id: str) -> bool:
    found = find_domain(conn, home, server_id)
    return found is not None and found.is_active()
