"""What the log says of requests."""

import logging
from typing import Any

import pytest

from adapters.rest.kit import request_log
from tests.adapters.rest.conftest import MakeWorld
from tests.adapters.rest.world import BLUE, login, new_server, user_id
from tests.aio import asynchronous

SERVERS = "/compute/v2.1/servers"


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [record.fields for record in caplog.records if hasattr(record, "fields")]


@asynchronous
async def test_changes_and_failures_are_told(cloud: MakeWorld, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    async with cloud() as world:
        amy = await world.client("amy")
        caplog.clear()
        created = await amy.post(SERVERS, new_server())
        await amy.get(SERVERS)
        await amy.get(f"{SERVERS}/none")
        made, missed = lines(caplog)
        assert (made["method"], made["path"], made["status"]) == ("POST", SERVERS, created.status)
        assert (made["user"], made["project"]) == (user_id("amy"), BLUE)
        assert made["ms"] >= 0
        assert (missed["method"], missed["path"], missed["status"]) == ("GET", f"{SERVERS}/none", 404)


@asynchronous
async def test_no_keypair_is_named(cloud: MakeWorld, caplog: pytest.LogCaptureFixture):
    """Its name may be sealed in the log of events: who reads this one needs no key."""
    caplog.set_level(logging.INFO)
    async with cloud() as world:
        amy = await world.client("amy")
        caplog.clear()
        await amy.post("/compute/v2.1/os-keypairs", {"keypair": {"name": "amys-laptop"}})
        await amy.delete("/compute/v2.1/os-keypairs/amys-laptop")
        paths = [line["path"] for line in lines(caplog)]
        assert paths == ["/compute/v2.1/os-keypairs", "/compute/v2.1/os-keypairs/*"]
        assert "amys-laptop" not in caplog.text


@asynchronous
async def test_failed_log_ins_are_told(cloud: MakeWorld, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    async with cloud() as world:
        await (await world.client(None)).post("/identity/v3/auth/tokens", login("amy", password="wrong"))
        (line,) = lines(caplog)
        assert (line["path"], line["status"], line["user"]) == ("/identity/v3/auth/tokens", 401, "amy")
        assert "wrong" not in caplog.text


@asynchronous
async def test_nobody_decides_how_fast_the_log_grows(
    cloud: MakeWorld, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    now = 7.0
    monkeypatch.setattr(request_log, "monotonic", lambda: now)
    caplog.set_level(logging.INFO)
    async with cloud() as world:
        nobody = await world.client(None)
        for _ in range(request_log.FAILED_A_SECOND + 20):
            await nobody.get(SERVERS)
        assert len(lines(caplog)) == request_log.FAILED_A_SECOND
        now += 1
        await nobody.get(f"{SERVERS}/{'x' * 5000}")
        assert "20 more requests failed within a second" in caplog.text
        assert len(lines(caplog)[-1]["path"]) == request_log.MAX_PATH


@asynchronous
async def test_who_looks_at_what_is_not_his_own_is_told(cloud: MakeWorld, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    async with cloud() as world:
        amy, root, ann = [await world.client(name) for name in ("amy", "root", "ann")]
        caplog.clear()
        await amy.request("GET", SERVERS, headers={"lightcurve-as-of": "now"})
        await amy.get("/audit/events")
        assert lines(caplog) == []
        past = await root.request("GET", SERVERS, headers={"lightcurve-as-of": "now"})
        await ann.get("/audit/events", type="server.")
        looked, listed = lines(caplog)
        assert (looked["path"], looked["user"]) == (SERVERS, user_id("root"))
        assert looked["looked"] == past.headers["lightcurve-position"]
        assert (listed["path"], listed["user"], listed["looked"]) == ("/audit/events", user_id("ann"), "type=server.")
