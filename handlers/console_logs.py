"""What guests have printed on their serial consoles: their hosts are asked."""

from domain.errors import Unavailable
from domain.server.state import Server
from handlers.context import current_request
from handlers.messages import ConsoleLogQuestion, encode
from handlers.ports import CommandBus


class ConsoleLogs:
    """The console logs of the servers of one cell."""

    def __init__(self, bus: CommandBus) -> None:
        self._bus = bus

    async def tail(self, server: Server, lines: int | None) -> str:
        """The last ``lines`` lines; all, if None. Raises Unavailable, HostFailed."""
        if server.host is None:
            raise Unavailable(f"Instance {server.id} is not on a host yet.")
        question = ConsoleLogQuestion(server_id=server.id, lines=lines, request_id=current_request.get())
        return (await self._bus.ask(server.host, encode(question))).decode(errors="replace")
