"""The loop of simulated time ends, and says why."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests.sim.virtual_time import LONGEST, run


async def beat() -> None:
    while True:  # noqa: ASYNC110 - that is what it is for
        await asyncio.sleep(60.0)


async def wait_for_what_never_comes() -> None:
    await asyncio.Event().wait()


async def beat_and_wait() -> None:
    beating = asyncio.create_task(beat())
    await wait_for_what_never_comes()
    beating.cancel()


async def sleep_for_a_year() -> None:
    await asyncio.sleep(2.0**24)
    await asyncio.sleep(1.0)


def line_of(words: str) -> str:
    """Where those words stand in this file, as an error names it."""
    lines = Path(__file__).read_text().splitlines()
    return f"tests/sim/test_virtual_time.py:{lines.index(words) + 1}"


@pytest.mark.parametrize(
    ("main", "words", "lines"),
    [
        (wait_for_what_never_comes, "deadlocked", ["    await asyncio.Event().wait()"]),
        (beat_and_wait, "has not ended", ["    await asyncio.Event().wait()", "        await asyncio.sleep(60.0)"]),
        (sleep_for_a_year, "has not ended", ["    await asyncio.sleep(2.0**24)"]),
    ],
)
def test_what_never_ends_says_what_it_waits_for(
    main: Callable[[], Coroutine[Any, Any, None]], words: str, lines: list[str]
) -> None:
    with pytest.raises(RuntimeError, match=words) as error:
        run(main())
    for line in lines:
        assert f"{line_of(line)} (1)" in str(error.value)


def test_what_was_given_up_ends_in_order() -> None:
    ended = []

    async def main() -> None:
        try:
            await beat()
        finally:
            await asyncio.sleep(1.0)
            ended.append(True)

    with pytest.raises(RuntimeError, match="has not ended"):
        run(main())
    assert ended


def test_a_long_simulation_is_no_error() -> None:
    async def main() -> float:
        await asyncio.sleep(LONGEST - 1.0)
        await asyncio.sleep(0.5)
        return asyncio.get_running_loop().time()

    assert run(main()) == pytest.approx(LONGEST - 0.5)
