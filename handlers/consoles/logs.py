"""What guests have printed on their serial consoles: their hosts are asked."""

from domain.errors import Unavailable
from domain.server.state import Server
from handlers.cells import Cells
from handlers.context import current_request
from handlers.messages import ConsoleLogQuestion, encode


class ConsoleLogs:
    """The console logs of servers."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells

    async def tail(self, server: Server, lines: int | None) -> str:
        """The last ``lines`` lines; all, if None. Raises Unavailable, HostFailed."""
        if server.host is None:
            raise Unavailable(f"Instance {server.id} is not on a host yet.")
        question = ConsoleLogQuestion(server_id=server.id, lines=lines, request_id=current_request.get())
        bus = (await self._cells.of(server.id)).bus
        return (await bus.ask(server.host, encode(question))).decode(errors="replace")
