"""Whatever several processes want of the identity at once, its rules hold, and all know what has come of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from domain.errors import Refused, Unavailable
from domain.neighbours.identity.events import ConfiguredUser, UserCreated
from domain.neighbours.identity.rules import Configuration
from domain.neighbours.identity.state import KIND
from handlers.context import Context
from handlers.log.registry import Registry
from handlers.neighbours.people import People, owner
from tests.aio import asynchronous
from tests.cell import Cell
from tests.waiting import until

ROOT = Context(request_id="req-root", user_id="root", project_id="ops", roles=("admin",))


def admin(name: str) -> ConfiguredUser:
    return ConfiguredUser(
        user_id=name, name=name, password="hash", credential_version="v", mark="m", roles={"ops": ("r",)}
    )


FILE = Configuration(projects={"ops": "ops"}, roles={"r": "admin"}, users=(admin("ann"), admin("bob")))


async def hashed(password: str) -> str:
    return f"hash of {len(password)}"


@asynccontextmanager
async def process(cell: Cell) -> AsyncIterator[People]:
    registry = Registry(cell.store, cell.stamp, [KIND])
    people = People(registry, cell.vault, cell.stamp, hashed)
    following = asyncio.create_task(registry.run())
    await people.start()
    yield people
    following.cancel()


def new(user_id: str, name: str) -> UserCreated:
    return UserCreated(user_id=user_id, name=name, credential_version="")


async def statuses(*asked: object) -> list[int]:
    """Of what was asked at once, in order; 0 for what was done."""
    outcomes = await asyncio.gather(*asked, return_exceptions=True)  # type: ignore[call-overload]
    return sorted(outcome.status if isinstance(outcome, Refused) else 0 for outcome in outcomes)


@asynchronous
async def test_two_processes_that_start_at_once_take_the_file_once() -> None:
    cell = Cell()
    async with process(cell) as one, process(cell) as other:
        assert sorted(await asyncio.gather(one.configure(FILE), other.configure(FILE))) == [False, True]


@asynchronous
async def test_a_name_goes_to_one_of_those_who_want_it() -> None:
    cell = Cell()
    async with process(cell) as one, process(cell) as other:
        await one.configure(FILE)
        asked = [
            people.create_user(ROOT, new(f"{place}-{number}", "amy"), "secret")
            for number in range(5)
            for place, people in (("one", one), ("other", other))
        ]
        assert await statuses(*asked) == [0, *[409] * 9]


@asynchronous
async def test_two_administrators_cannot_take_away_each_other() -> None:
    cell = Cell()
    async with process(cell) as one, process(cell) as other:
        await one.configure(FILE)
        await until(lambda: other.state is not None)
        assert await statuses(one.delete_user(ROOT, "ann"), other.delete_user(ROOT, "bob")) == [0, 403]


@asynchronous
async def test_many_at_once_are_all_made_and_every_process_knows() -> None:
    cell = Cell()
    async with process(cell) as one, process(cell) as other:
        told: list[str | None] = []
        other.listen(lambda _state, user_id: told.append(user_id))
        await one.configure(FILE)
        asked = [
            people.create_user(ROOT, new(f"{place}-{number}", f"{place}-{number}"), None)
            for number in range(40)
            for place, people in (("one", one), ("other", other))
        ]
        assert await statuses(*asked) == [0] * 80
        await until(lambda: one.state == other.state and one.state is not None and len(one.state.users) == 82)
        assert "one-39" in told


@asynchronous
async def test_a_key_that_was_left_is_destroyed_by_who_asks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = Cell()
    async with process(cell) as people:
        await people.configure(FILE)
        await people.create_user(ROOT, new("amy", "amy"), "secret")

        async def fail(_owner: str) -> None:
            raise Unavailable("The vault does not answer.")

        with monkeypatch.context() as patch:
            patch.setattr(cell.vault, "destroy", fail)
            with pytest.raises(Unavailable):
                await people.delete_user(ROOT, "amy")
        assert owner("amy") in await cell.vault.owners()
        with pytest.raises(Refused, match="could not be found"):
            await people.delete_user(ROOT, "amy")
        assert owner("amy") not in await cell.vault.owners()


@asynchronous
async def test_a_hash_whose_key_is_gone_is_nothing() -> None:
    cell = Cell()
    async with process(cell) as people:
        await people.configure(FILE)
        user, _ = await people.create_user(ROOT, new("amy", "amy"), "secret")
        assert user.password is not None
        assert await people.opened("amy", user.password) == "hash of 6"
        await cell.vault.destroy(owner("amy"))
        assert await people.opened("amy", user.password) == ""
