"""The connection to libvirtd: opened when needed, opened again when lost, never blocking the event loop."""

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import libvirt

from domain.errors import HostFailed, Unavailable

T = TypeVar("T")
Listener = Callable[[str | None], None]
"""Told, in libvirt's thread, the uuid of a domain that changed; None when the connection is lost."""

KEEPALIVE_INTERVAL = 5
KEEPALIVE_COUNT = 3
"""A daemon that is silent for interval x (count + 1) seconds is lost."""
THREADS = 8
"""So many calls wait for libvirt at a time; the others queue."""

_log = logging.getLogger(__name__)
_events = threading.Lock()
_events_run = False


class Connection:
    """One host's libvirtd. Safe from several tasks of one event loop."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="libvirt")
        self._opening = threading.Lock()
        self._conn: Any = None
        self._listeners: set[Listener] = set()

    async def call(self, work: Callable[[Any], T]) -> T:
        """Run ``work(virConnect)`` in a thread and return its result.

        Raises Unavailable while libvirtd does not answer, HostFailed if it refuses. A call that is cancelled is
        waited for all the same: what it does to a guest must not happen behind the back of the next one.
        """
        future = asyncio.get_running_loop().run_in_executor(self._threads, self._work, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            if not future.cancelled():
                future.exception()
            raise

    def listen(self, listener: Listener) -> None:
        """Tell ``listener`` of every domain that changes, from the next call on."""
        self._listeners.add(listener)

    def unlisten(self, listener: Listener) -> None:
        self._listeners.discard(listener)

    async def close(self) -> None:
        """Let go of libvirtd; guests live on."""
        await asyncio.get_running_loop().run_in_executor(self._threads, self._drop, self._conn)
        self._threads.shutdown(wait=False)

    def _work(self, work: Callable[[Any], T]) -> T:
        conn = self._open()
        try:
            return work(conn)
        except libvirt.libvirtError as error:
            if _is_lost(conn, error):
                self._drop(conn)
                raise Unavailable("The hypervisor does not answer now.") from error
            if error.get_error_code() == libvirt.VIR_ERR_OPERATION_TIMEOUT:
                raise Unavailable("The hypervisor is busy with this guest.") from error
            raise HostFailed("The hypervisor refused the operation.", str(error)) from error

    def _open(self) -> Any:
        with self._opening:
            if self._conn is None:
                _run_events()
                try:
                    conn = libvirt.open(self._uri)
                    _keep_alive(conn)
                    conn.registerCloseCallback(self._on_close, None)
                    lifecycle = libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE
                    conn.domainEventRegisterAny(None, lifecycle, self._on_lifecycle, None)
                except libvirt.libvirtError as error:
                    raise Unavailable("The hypervisor does not answer now.") from error
                self._conn = conn
            return self._conn

    def _drop(self, conn: Any) -> None:
        """Forget a connection, once; those who listen are told."""
        with self._opening:
            if conn is None or self._conn is not conn:
                return
            self._conn = None
        try:
            conn.unregisterCloseCallback()
            conn.close()
        except libvirt.libvirtError as error:
            _log.debug("closing a lost connection: %s", error)
        self._tell(None)

    def _on_close(self, conn: Any, reason: int, _: object) -> None:
        _log.warning("lost the connection to libvirtd, reason %d", reason)
        # Closing it here would wait for the very thread that runs this.
        self._threads.submit(self._drop, conn)

    def _on_lifecycle(self, conn: Any, domain: Any, event: int, detail: int, _: object) -> None:
        if event not in {libvirt.VIR_DOMAIN_EVENT_DEFINED, libvirt.VIR_DOMAIN_EVENT_UNDEFINED}:
            self._tell(domain.UUIDString())

    def _tell(self, uuid: str | None) -> None:
        for listener in tuple(self._listeners):
            listener(uuid)


def _keep_alive(conn: Any) -> None:
    try:
        conn.setKeepAlive(KEEPALIVE_INTERVAL, KEEPALIVE_COUNT)
    except libvirt.libvirtError as error:
        # A driver inside this process has no other end that could fall silent.
        if error.get_error_code() != libvirt.VIR_ERR_NO_SUPPORT:
            raise


def _is_lost(conn: Any, error: Any) -> bool:
    if error.get_error_domain() in {libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE}:
        return True
    try:
        return not conn.isAlive()
    except libvirt.libvirtError:
        return True


def _run_events() -> None:
    """libvirt's event loop: one thread a process, begun before the first connection is opened."""
    global _events_run  # noqa: PLW0603 (libvirt's own registration is global, too)
    with _events:
        if _events_run:
            return
        # It would print every error, also those that we expect.
        libvirt.registerErrorHandler(lambda *_: None, None)
        libvirt.virEventRegisterDefaultImpl()
        threading.Thread(target=_event_loop, name="libvirt-events", daemon=True).start()
        _events_run = True


def _event_loop() -> None:
    while True:
        try:
            libvirt.virEventRunDefaultImpl()
        except libvirt.libvirtError as error:
            _log.warning("libvirt's event loop: %s", error)
