"""What ``lightcurve diff`` says of what it has not looked at."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from domain.log.moment import Moment
from ops.diff import Wanted, diff
from ops.past import Past
from projections.event_log import LogRow
from tests.aio import asynchronous
from tests.clocks import InstantClock


def _row(position: int) -> LogRow:
    return LogRow(
        cell="api",
        position=position,
        part=0,
        time=InstantClock().now(),
        type="flavor.created",
        kind="flavor",
        aggregate_id="all",
        version=position,
        event_id=f"e{position}",
        request_id="req-1",
        global_request_id=None,
        server_id=None,
        user_id="amy",
        project_id=None,
    )


class _Queries:
    async def log_between(self, _before: Any, _after: Any, kinds: Any, limit: int, _only: Any = None) -> list[LogRow]:
        return [] if "server" in kinds else [_row(1), _row(2), _row(3)][:limit]


@asynchronous
async def test_other_changes_that_were_not_looked_at_are_told_of(capsys: pytest.CaptureFixture[str]):
    async def at(_moment: str) -> Any:
        return SimpleNamespace(moment=Moment.of({"api": 3}))

    past = cast("Past", SimpleNamespace(at=at, queries=_Queries(), names=SimpleNamespace(user=str)))
    for limit, cut in ((2, True), (3, False)):
        await diff(past, "now", "now", Wanted(), limit)
        told = capsys.readouterr().out
        assert (told.count("flavor.created"), f"Only the first {limit} events" in told) == (limit, cut)
