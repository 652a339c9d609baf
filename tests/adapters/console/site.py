"""Console proxies over a cell in memory, with a guest that echoes what is typed."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from adapters.console.proxy import ConsoleProxy, ProxySettings, start
from domain import console
from domain.log.record import Recorded
from domain.server.state import Server
from handlers.consoles.consoles import Consoles
from handlers.consoles.sessions import Doorkeeper
from handlers.context import Context
from handlers.messages import ConsoleAddress, ConsoleAddressQuestion, encode, question_decoder
from ops.listening import listening_socket
from tests.adapters.console.viewer import Viewer
from tests.cell import Cell
from tests.domain.server.servers import PLACED
from tests.waiting import until

USER = Context(request_id="req-user", user_id="u", project_id="p")


class Proxy:
    """One proxy, as one process runs it."""

    def __init__(self, site: "Site", name: str, **settings: object) -> None:
        self._site = site
        self.doorkeeper = Doorkeeper(
            site.cell.store,
            site.consoles,
            site.cell.stamp,
            lambda user, project, _: (user, project) in site.rights,
            name,
        )
        self.proxy = ConsoleProxy(self.doorkeeper, ProxySettings(web_dir=site.web_dir, **settings))  # type: ignore[arg-type]
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        following = asyncio.Event()
        self._follower = asyncio.create_task(self.doorkeeper.run(following.set))
        await following.wait()
        listener = listening_socket("127.0.0.1", 0)
        self.port: int = listener.getsockname()[1]
        self._server = await start(self.proxy, listener)

    async def kill(self) -> None:
        """End it as a killed process ends: listeners and connections at once."""
        self._server.close()
        self._follower.cancel()
        for connection in list(self.proxy._connections):
            connection.transport.abort()
        await asyncio.gather(self._follower, return_exceptions=True)


class Site:
    """A cell with one host, whose guests echo."""

    def __init__(self, web_dir: Path, cell: Cell) -> None:
        self.web_dir = web_dir
        self.cell = cell
        self.rights = {("u", "p")}
        self.consoles = self.grants()
        self.proxies: list[Proxy] = []
        self.typed = b""
        """What viewers typed, if anybody wants to see it."""
        self.asked: list[ConsoleAddressQuestion] = []
        self._guests = 0
        self.place: ConsoleAddress | None = None
        self.screen: Callable[[], Awaitable[ConsoleAddress | None]] | None = None
        """A true screen, which is offered anew each time it is asked for."""

    def grants(self, *, seconds: float = 600, single_use: bool = False) -> Consoles:
        life = timedelta(seconds=seconds)
        return Consoles(self.cell.store, self.cell.bus, self.cell.stamp, life=life, single_use=single_use)

    async def proxy(self, name: str = "console-1", **settings: object) -> Proxy:
        made = Proxy(self, name, **settings)
        await made.start()
        self.proxies.append(made)
        return made

    async def server(self) -> Server:
        return await self.present(await self.cell.server())

    async def present(self, server_id: str) -> Server:
        server, _ = await self.cell._servers.load(_aggregate(server_id))
        assert server is not None
        return server

    async def token(self, server: Server, console_type: str = "novnc", grants: Consoles | None = None) -> str:
        return await (grants or self.consoles).issue(USER, server, console_type)

    async def story(self, token: str) -> list[Recorded]:
        """All that the log says of a token."""
        return await self.cell.store.load(console.aggregate(console.token_id(token)))

    async def serve(self) -> None:
        guest = await asyncio.start_server(self._echo, "127.0.0.1", 0)
        host, port = guest.sockets[0].getsockname()
        self.place = ConsoleAddress(host=host, port=port)
        async with guest:
            await self.cell.bus.serve_questions([PLACED.host], self._answer)

    async def _answer(self, _host: str, question: bytes) -> bytes:
        asked = question_decoder.decode(question)
        assert isinstance(asked, ConsoleAddressQuestion)
        self.asked.append(asked)
        return encode(await self.screen() if self.screen else self.place)

    async def _echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._guests += 1
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                self.typed += data
                writer.write(data)
                await writer.drain()
        writer.close()
        self._guests -= 1

    def idle(self) -> bool:
        """Whether no connection is being served any more."""
        return not self._guests and not any(proxy.proxy._connections for proxy in self.proxies)


def _aggregate(server_id: str) -> "console.AggregateId":
    from domain.server.state import aggregate

    return aggregate(server_id)


def nobody_listens() -> int:
    """A port where nobody is."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A site that is served; its proxies are ended at the end."""
    web_dir = tmp_path / "web"
    (web_dir / "core").mkdir(parents=True)
    (web_dir / "vnc_lite.html").write_text("<title>noVNC</title>")
    (web_dir / "core" / "rfb.js").write_text("export default 1")
    (tmp_path / "secret").write_text("secret")
    made = Site(web_dir, Cell())
    serving = asyncio.create_task(made.serve())
    try:
        while made.place is None:  # noqa: ASYNC110
            await asyncio.sleep(0)
        yield made
    finally:
        for proxy in made.proxies:
            await proxy.kill()
        for writer in Viewer.open_now:
            writer.transport.abort()
        Viewer.open_now.clear()
        # A task that is cancelled by the loop's end would be told of as lost.
        await until(made.idle)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
