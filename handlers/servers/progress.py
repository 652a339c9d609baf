"""How far guests are that leave their hosts: these are asked at that moment, and nothing of it is kept."""

from domain.errors import LightcurveError
from domain.server.moves.course import LIVE_LEAVING
from domain.server.state import Server
from handlers.cells import Cells
from handlers.context import current_request
from handlers.messages import Progress, ProgressQuestion, encode, read_progress

ASK_SECONDS = 2.0
"""Longest time that whoever asks waits for a host."""


class MigrationProgress:
    """The progress of servers."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells

    async def __call__(self, server: Server) -> Progress | None:
        """None if it does not leave, or if its host does not say in time."""
        if server.move is None or server.move.leg != LIVE_LEAVING:
            return None
        question = ProgressQuestion(server_id=server.id, request_id=current_request.get())
        try:
            bus = (await self._cells.of(server.id)).bus
            return read_progress(await bus.ask(server.move.source.host, encode(question), ASK_SECONDS))
        except LightcurveError:
            return None
