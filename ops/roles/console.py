"""The console proxy's process."""

import asyncio
import logging
import ssl
from contextlib import suppress
from pathlib import Path

from adapters.console.proxy import ConsoleProxy, ProxySettings, start
from adapters.console.vencrypt import client_context
from adapters.rest.identity.directory import Directory
from domain.errors import Invalid, Unavailable
from domain.neighbours.identity.state import KIND
from handlers.consoles.lost_proxies import life_sign
from handlers.consoles.sessions import Doorkeeper, Entitled
from handlers.fleet.liveness import keep_beating
from handlers.log.registry import Registry
from handlers.together import together
from ops import notify
from ops.identity import LiveIdentity
from ops.listening import listening_socket
from ops.roles.console_grants import consoles
from ops.roles.plane import open_plane
from ops.settings import ConsoleSettings, Settings
from ops.web_clients import NOVNC, SPICE, web_client

log = logging.getLogger(__name__)

STOP_SECONDS = 3.0
"""How long a proxy that is told to stop may take to record the ends of its sessions."""


async def run(settings: Settings, name: str) -> None:
    """Serve until cancelled."""
    mine = settings.console
    web_dir = mine.web_dir
    if web_dir is None:
        web_dir = await asyncio.to_thread(web_client, NOVNC, settings.cache)
    spice_dir = mine.spice_web_dir
    if spice_dir is None:
        spice_dir = await asyncio.to_thread(_spice_client, settings.cache)
    proxy_settings = ProxySettings(
        web_dir=web_dir,
        spice_dir=spice_dir,
        allowed_origins=mine.allowed_origins,
        max_connections=mine.max_connections,
        tls=_vencrypt(mine),
    )
    async with open_plane(settings, name) as plane, asyncio.TaskGroup() as group:
        # A proxy that is started anew has another name: nobody takes it for the one that was killed.
        proxy = f"{name}/{plane.stamp.ids.uuid().partition('-')[0]}"
        people = Registry(plane.api_store, plane.stamp, [KIND])
        identity = LiveIdentity(settings, people, plane.api_vault, plane.stamp, tells=False)
        doorkeeper = Doorkeeper(plane.store, consoles(plane), plane.stamp, entitled(identity.directory), proxy)
        following = asyncio.Event()
        group.create_task(doorkeeper.run(following.set))
        group.create_task(plane.watch())
        group.create_task(people.run())
        group.create_task(keep_beating(plane.liveness, plane.stamp.clock, life_sign(proxy), plane.refusals.facts))
        await together(following.wait(), identity.start())
        identity.people.listen(lambda *_: doorkeeper.judge_anew())
        server = await start(
            ConsoleProxy(doorkeeper, proxy_settings), listening_socket(mine.listen, mine.port), _tls(mine)
        )
        notify.ready()
        try:
            async with server:
                await server.serve_forever()
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_SECONDS):
                    await doorkeeper.end_all()


def entitled(directory: Directory) -> Entitled:
    """Whether a user could be given a console now, by the embedded identity."""

    def holds(user_id: str | None, project_id: str | None, owner: str) -> bool:
        roles = directory.roles(user_id, project_id)
        return "admin" in roles or ("member" in roles and project_id == owner)

    return holds


def _spice_client(cache: Path) -> Path | None:
    """Most have no SPICE, and shall not miss their consoles for want of its client."""
    try:
        return web_client(SPICE, cache)
    except Unavailable as error:
        log.warning("there are no pages for SPICE consoles: %s", error)
        return None


def _tls(settings: ConsoleSettings) -> ssl.SSLContext | None:
    if settings.tls_certificate is None and settings.tls_key is None:
        return None
    if settings.tls_certificate is None or settings.tls_key is None:
        raise Invalid("[console] tls_certificate and tls_key go together.")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    return context


def _vencrypt(settings: ConsoleSettings) -> ssl.SSLContext | None:
    files = settings.vencrypt_ca, settings.vencrypt_certificate, settings.vencrypt_key
    ca, certificate, key = files
    if ca and certificate and key:
        return client_context(ca, certificate, key)
    if any(files):
        raise Invalid("[console] vencrypt_ca, vencrypt_certificate and vencrypt_key go together.")
    return None
