"""``kill -9`` of each process in turn, at several moments of a creation: nothing is stuck, left behind or doubled."""

import json
import time
from collections.abc import Iterator

import pytest

from tests.e2e.live_stack import LiveStack, wait_until

HOST = "node1"
VICTIMS = ("api-1", "conductor", "projector", f"compute-{HOST}", "nats", "postgres", f"libvirtd-{HOST}")
MOMENTS = (0.0, 0.03, 0.6)
"""Seconds after the answer: before anything was done, amid placing, amid building."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStack]:
    """With a host of its own: its libvirtd is ours to kill, whoever has the machine's."""
    live = LiveStack(tmp_path_factory.mktemp("killed"), "--hosts", "1")
    try:
        live.up()
        yield live
    finally:
        live.down()


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_creation_survives_the_death_of(stack: LiveStack, victim: str) -> None:
    created = []
    for moment in MOMENTS:
        created.append(stack.create(f"survivor-{moment}"))
        time.sleep(moment)  # the moment is what is tested
        stack.kill(victim)
        wait_until(lambda: _answers(stack), 60, "the API answers again")
    for server_id in created:
        server = stack.await_status(server_id, "ACTIVE", "ERROR", seconds=120)
        assert server["status"] == "ACTIVE" or server["fault"]["message"]
    domains = _domains(stack)
    for server_id in created:
        assert sum(server_id in domain for domain in domains) <= 1
    stack.delete_all()
    assert_nothing_left(stack, created)


def test_the_log_tells_every_servers_story_afterwards(stack: LiveStack) -> None:
    log = stack.lightcurve("log", "--type", "server.", "--limit", "100000").stdout.splitlines()
    requested = {_server_of(line) for line in log if "server.requested" in line}
    deleted = {_server_of(line) for line in log if "server.deleted" in line}
    assert requested
    assert requested == deleted


def assert_nothing_left(stack: LiveStack, server_ids: list[str]) -> None:
    """No domain, no disk, no port, no claim, no quota."""

    def domains_left() -> list[str]:
        return [name for name in _domains(stack) if any(server_id in name for server_id in ("answer", *server_ids))]

    wait_until(lambda: not domains_left(), 60, "no domain is left")
    instances = stack.directory / "embedded-hosts" / HOST / "compute" / "instances"
    wait_until(lambda: not list(instances.iterdir()), 30, "no disk is left")
    assert stack.call("GET", "/network/v2.0/ports").json()["ports"] == []
    assert "The ledger is sound" in stack.lightcurve("placement", "check").stdout
    held = json.loads(stack.lightcurve("holdings").stdout)
    assert held == {"claims": {}, "imbalances": [], "ports": {}, "reservations": {}}


def _answers(stack: LiveStack) -> bool:
    try:
        return stack.call("GET", "/compute/v2.1/servers").status == 200
    except OSError:
        return False


def _domains(stack: LiveStack) -> list[str]:
    done = stack.lightcurve("host", "exec", HOST, "virsh", "list", "--all", "--name", check=False)
    return done.stdout.split() if done.returncode == 0 else ["libvirtd does not answer"]


def _server_of(line: str) -> str:
    return next(word for word in line.split() if word.startswith("("))
