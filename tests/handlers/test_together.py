"""Several things at once."""

import ast
import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from domain.errors import Unavailable
from handlers.together import outcomes, together
from tests.aio import asynchronous


async def fail(begun: asyncio.Event) -> None:
    await begun.wait()
    raise Unavailable("the weather is bad")


@asynchronous
async def test_returns_all_in_order_and_raises_the_first_failure() -> None:
    assert await together(asyncio.sleep(0, "a"), asyncio.sleep(0, "b")) == ["a", "b"]
    begun = asyncio.Event()
    begun.set()
    with pytest.raises(Unavailable):
        await together(asyncio.sleep(0), fail(begun))


@asynchronous
async def test_who_is_cancelled_just_as_one_has_failed_is_cancelled() -> None:
    begun, tries = asyncio.Event(), 0

    async def try_again_and_again() -> None:
        nonlocal tries
        while True:
            tries += 1
            try:
                await together(fail(begun), asyncio.sleep(3600))
            except Unavailable:
                await asyncio.sleep(3600)

    trying = asyncio.create_task(try_again_and_again())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    begun.set()
    await asyncio.sleep(0)  # now it has failed, and nobody has been told yet
    trying.cancel()
    await asyncio.wait({trying}, timeout=5)
    assert trying.cancelled()
    assert tries == 1


@asynchronous
async def test_every_outcome_is_told_and_who_is_cancelled_just_then_is_cancelled() -> None:
    begun = asyncio.Event()
    begun.set()
    failure, success = await outcomes(fail(begun), asyncio.sleep(0, "b"))
    assert isinstance(failure, Unavailable)
    assert success == "b"
    begun.clear()
    waiting = asyncio.create_task(outcomes(fail(begun), asyncio.sleep(3600)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    begun.set()
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting}, timeout=5)
    assert waiting.cancelled()


@pytest.mark.parametrize("at_once", [together, outcomes])
@asynchronous
async def test_one_alone_does_without_a_task(at_once: Callable[..., Awaitable[list[object]]]) -> None:
    async def own_task() -> object:
        return asyncio.current_task()

    assert await at_once(own_task()) == [asyncio.current_task()]
    waiting = asyncio.create_task(at_once(asyncio.sleep(3600)))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting}, timeout=5)
    assert waiting.cancelled()


@asynchronous
async def test_the_failure_of_one_alone_is_an_outcome_too() -> None:
    begun = asyncio.Event()
    begun.set()
    (failure,) = await outcomes(fail(begun))
    assert isinstance(failure, Unavailable)


ROOT = Path(__file__).parents[2]


def gathers(source: str) -> list[int]:
    """The lines where ``gather`` is used so that a failure can take the place of a cancellation."""
    nodes = list(ast.walk(ast.parse(source)))
    harmless = {
        node.func
        for node in nodes
        if isinstance(node, ast.Call)
        for word in node.keywords
        if word.arg == "return_exceptions" and ast.unparse(word.value) == "True"
    }
    used = {node for node in nodes if isinstance(node, ast.Attribute) and node.attr == "gather"}
    imported = [node for node in nodes if isinstance(node, ast.alias) and node.name == "gather"]
    return sorted(node.lineno for node in (*(used - harmless), *imported))


def test_the_rule_sees_what_it_forbids() -> None:
    assert gathers("await asyncio.gather(a)\nf(aio.gather)\nfrom asyncio import gather") == [1, 2, 3]
    assert gathers("await asyncio.gather(a, return_exceptions=False)") == [1]
    assert not gathers("await asyncio.gather(a, return_exceptions=True)")


def test_nothing_in_the_product_loses_a_cancellation() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for room in ("handlers", "projections", "adapters", "ops")
        for path in (ROOT / room).rglob("*.py")
        if path != ROOT / "handlers/together.py" and ROOT / "ops/bench" not in path.parents
        for line in gathers(path.read_text())
    ]
    assert not found
