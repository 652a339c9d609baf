"""Guesses are slowed, and nobody else is."""

import asyncio

import pytest

from adapters.rest.identity import log_in
from adapters.rest.identity.directory import Directory
from adapters.rest.identity.log_in import GUESSES_AT_USER, MAX_REMEMBERED, MAX_WAITING, LogIns
from domain.errors import Refused
from tests.adapters.rest.conftest import MakeWorld
from tests.adapters.rest.world import PASSWORDS, identity_settings, login
from tests.aio import asynchronous
from tests.clocks import InstantClock

AMY = "1", "h"


def guess(log_ins: LogIns, address: str, name: str, user: tuple[str, str] | None = None, password: str = "") -> bool:
    try:
        log_ins.begin(address, name)
    except Refused:
        return False
    log_ins.end(address, name, user, password)
    return True


def count(log_ins: LogIns, **names: str) -> int:
    number = 0
    while number < 1000 and guess(log_ins, names.get("address", f"a{number}"), names.get("name", f"n{number}")):
        number += 1
    return number


@pytest.mark.parametrize("names", [{"address": "a"}, {"name": "n"}])
def test_guesses_have_an_end_and_come_back_with_time(names: dict[str, str]):
    clock = InstantClock()
    log_ins = LogIns(clock)
    size, a_second = log_in.GUESSES_OF_ADDRESS if "address" in names else GUESSES_AT_USER
    assert count(log_ins, **names) == size
    assert guess(log_ins, "another address", "another user")
    clock.advance(2 / a_second)
    assert count(log_ins, **names) == 2
    clock.advance(1e6)
    assert count(log_ins, **names) == size


def test_guesses_at_once_are_owed():
    clock = InstantClock()
    log_ins = LogIns(clock)
    for number in range(MAX_WAITING):
        log_ins.begin("a", f"n{number}")
    for number in range(MAX_WAITING):
        log_ins.end("a", f"n{number}", None, "")
    size, a_second = log_in.GUESSES_OF_ADDRESS
    clock.advance((MAX_WAITING - size) / a_second)
    assert count(log_ins, address="a") == 0
    clock.advance(1 / a_second)
    assert count(log_ins, address="a") == 1


def test_right_passwords_cost_nothing():
    log_ins = LogIns(InstantClock())
    assert all(guess(log_ins, "a", "amy", AMY, "right") for _ in range(1000))


def test_a_password_that_was_right_is_known_for_a_while():
    clock = InstantClock()
    log_ins = LogIns(clock)
    assert not log_ins.is_known(*AMY, "right")
    guess(log_ins, "a", "amy", AMY, "right")
    assert log_ins.is_known(*AMY, "right")
    assert not log_ins.is_known(*AMY, "wrong")
    assert not log_ins.is_known("2", "h", "right")
    assert not log_ins.is_known("1", "another password since", "right")
    clock.advance(log_in.REMEMBERED_FOR.total_seconds())
    assert not log_ins.is_known(*AMY, "right")


def test_what_is_remembered_has_an_end():
    log_ins = LogIns(InstantClock())
    for number in range(MAX_REMEMBERED + 10):
        guess(log_ins, f"a{number}", f"n{number}")
        guess(log_ins, "b", "amy", AMY, str(number))
    assert len(log_ins._of_address) == len(log_ins._at_user) == len(log_ins._right) == MAX_REMEMBERED


@asynchronous
async def test_a_queue_that_is_full_refuses_and_lets_in_whom_it_knows():
    directory = Directory(identity_settings())
    assert (await directory.authenticate(None, "amy", PASSWORDS["amy"], "home")).name == "amy"
    crowd = [
        asyncio.create_task(directory.authenticate(None, f"nobody{number}", "x", f"a{number}"))
        for number in range(MAX_WAITING + 5)
    ]
    await asyncio.sleep(0)
    with pytest.raises(Refused) as refusal:
        await directory.authenticate(None, "eve", PASSWORDS["eve"], "elsewhere")
    assert refusal.value.status == 429
    assert (await directory.authenticate(None, "amy", PASSWORDS["amy"], "elsewhere")).name == "amy"
    for task in crowd:
        task.cancel()
    await asyncio.gather(*crowd, return_exceptions=True)
    assert (await directory.authenticate(None, "eve", PASSWORDS["eve"], "elsewhere")).name == "eve"


@asynchronous
async def test_who_guesses_hears_when_to_come_back(cloud: MakeWorld, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("adapters.rest.identity.passwords.verify_password", lambda *_: False)
    async with cloud() as world:
        client = await world.client(None, None)
        statuses = []
        for _ in range(30):
            answer = await client.post("/identity/v3/auth/tokens", login("amy", password="wrong"))
            statuses.append(answer.status)
        assert statuses[:20] == [401] * 20
        assert statuses[-1] == 429
        assert answer.headers["retry-after"] == "1"
        assert answer.body["error"]["code"] == 429


@asynchronous
async def test_whose_token_it_is_that_may_be_looked_into(cloud: MakeWorld):
    async with cloud() as world:
        amy, rob, root, host = [await world.client(name) for name in ("amy", "rob", "root", "host")]
        for method, good in (("GET", 200), ("HEAD", 200)):
            for client, status in ((amy, good), (root, good), (host, good), (rob, 403)):
                answer = await client.request(
                    method, "/identity/v3/auth/tokens", headers={"x-subject-token": amy.token or ""}
                )
                assert answer.status == status, (method, client)
