"""A wire between client and server that can lose what passes."""

import asyncio
from contextlib import suppress
from typing import Self


class Proxy:
    """Listens on ``port`` and passes everything on to a server on loopback."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._pumps: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.answers_pass = True
        self.requests_pass = True
        self.lost_answers = b""
        self.lost_requests = b""

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        self.cut()
        for pump in list(self._pumps):
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """End every connection, as a broken cable would."""
        for writer in list(self._writers):
            writer.close()

    async def _serve(self, client_reader: asyncio.StreamReader, client_writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            client_writer.close()
            return
        for work in (
            self._pump(client_reader, server_writer, requests=True),
            self._pump(server_reader, client_writer, requests=False),
        ):
            task = asyncio.get_running_loop().create_task(work)
            self._pumps.add(task)
            task.add_done_callback(self._pumps.discard)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, requests: bool) -> None:
        self._writers.add(writer)
        with suppress(OSError):
            while content := await reader.read(65536):
                if requests and not self.requests_pass:
                    self.lost_requests += content
                elif not requests and not self.answers_pass:
                    self.lost_answers += content
                else:
                    writer.write(content)
                    await writer.drain()
        self._writers.discard(writer)
        writer.close()
