"""What ``lightcurve diff`` says of what it has not looked at."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from adapters.rest.identity.directory import Directory
from adapters.rest.kit.settings import IdentitySettings, Project
from domain.errors import Invalid
from domain.log.moment import Moment
from ops.at import servers
from ops.diff import Wanted, diff
from ops.past import Names, Past
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


DIRECTORY = Directory(IdentitySettings(users=(), projects=(Project(id="a" * 32, name="blue"),), token_keys=()))


class _Then:
    moment = Moment.of({"api": 3})

    async def server(self, name: str) -> Any:
        raise Invalid(f"There was no {name}.")

    async def host(self, name: str) -> Any:
        raise Invalid(f"There was no host {name}.")


def _past() -> Past:
    async def at(_moment: str) -> Any:
        return _Then()

    return cast("Past", SimpleNamespace(at=at, queries=_Queries(), names=Names(DIRECTORY)))


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(server="x"),
        Wanted(server=""),
        Wanted(host="x"),
        Wanted(host=""),
        Wanted(project="x"),
        Wanted(project=""),
    ],
)
@asynchronous
async def test_what_is_mistyped_is_no_empty_answer(wanted: Wanted) -> None:
    with pytest.raises(Invalid):
        await diff(_past(), "now", "now", wanted, 10)


@pytest.mark.parametrize(("project", "host"), [("x", None), ("", None), (None, "x"), (None, "")])
@asynchronous
async def test_nor_are_servers_at_a_moment(project: str | None, host: str | None) -> None:
    with pytest.raises(Invalid):
        await servers(_past(), "now", project, host, 10)


def test_projects_that_are_gone_are_known_by_their_ids() -> None:
    names = Names(DIRECTORY)
    assert [names.project_id(name) for name in ("blue", "a" * 32, "b" * 32)] == ["a" * 32, "a" * 32, "b" * 32]
