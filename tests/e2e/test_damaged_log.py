"""A stack whose log was damaged says so, records nothing, and goes on once the operator wants it to."""

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.adapters.nats.damage import Damage, cut_the_end, flip_a_byte, put_back
from tests.e2e.live_stack import Answer, LiveStack, wait_until

SERVERS = 6
CHANGES = 15
"""Of some 10 KB, so that the last 64 KiB of the log are not all of it."""
CELL = "cell1"


def _build(stack: LiveStack, count: int) -> list[str]:
    first = stack.create("vm-first")
    stack.await_status(first, "ACTIVE")
    for number in range(CHANGES):
        metadata = {f"{number}-{key}": "x" * 250 for key in range(40)}
        answer = stack.call("PUT", f"/compute/v2.1/servers/{first}/metadata", {"metadata": metadata})
        assert answer.status == 200, answer
    created = [first, *(stack.create(f"vm-{number}") for number in range(count - 1))]
    for server_id in created:
        stack.await_status(server_id, "ACTIVE")
    return created


def _is_sound(stack: LiveStack) -> bool:
    """Nothing is claimed, addressed or reserved for a server that is not there."""
    checked = stack.lightcurve("placement", "check", check=False)
    held = json.loads(stack.lightcurve("holdings").stdout)
    servers = {server["id"] for server in stack.call("GET", "/compute/v2.1/servers?all_tenants=1").json()["servers"]}
    return "is sound" in checked.stdout and all(
        set(held[kind]) <= servers for kind in ("claims", "ports", "reservations")
    )


@pytest.mark.parametrize(
    "kind", ["a flipped byte", "a cut end", pytest.param("an older copy", marks=pytest.mark.long)]
)
def test_goes_on_with_what_is_left(expendable: LiveStack, tmp_path: Path, kind: str) -> None:
    stack, nats = expendable, expendable.directory / "nats"
    kept = _build(stack, SERVERS)
    stack.lightcurve("down")
    damage: Damage = flip_a_byte if kind == "a flipped byte" else cut_the_end
    if kind == "an older copy":
        copy = tmp_path / "copy"
        shutil.copytree(nats, copy)
        stack.up()
        _build(stack, 2)
        stack.lightcurve("down")
        damage = put_back(copy)
    damage(nats, CELL)
    stack.up()
    _check_it_is_told(stack)
    refused = stack.lightcurve("recover", check=False)
    assert refused.returncode == 1
    assert "lightcurve log restore" in refused.stderr
    done = stack.lightcurve("recover", "--give-up", check=False)
    assert done.returncode == 0, done.stdout + done.stderr + stack.logs()
    assert "lacks" in done.stdout or "gone" in done.stdout
    # Each log that has lost something has a recovery of its own.
    recoveries = re.findall(r"lightcurve log lost ([\w-]+)", done.stdout)
    assert any(f"{CELL}#" in stack.lightcurve("log", "lost", recovery).stdout for recovery in recoveries)
    wait_until(lambda: _creates_again(stack), 60, "servers can be created again")
    assert "lightcurve recover" not in stack.lightcurve("status").stdout
    if kind == "an older copy":
        for server_id in kept:
            stack.await_status(server_id, "ACTIVE")
    assert json.loads(stack.lightcurve("holdings").stdout)["imbalances"] == []
    assert "nothing to recover from" in stack.lightcurve("recover").stdout
    stack.delete_all()


def test_afterwards_nobody_holds_anything(expendable: LiveStack) -> None:
    wait_until(lambda: _is_sound(expendable), 150, "what nobody holds was given back")


def _check_it_is_told(stack: LiveStack) -> None:
    """By status, and by every command's refusal."""

    def told() -> bool:
        status = stack.lightcurve("status").stdout
        return f"The log of cell {CELL}" in status and "lightcurve recover" in status

    wait_until(told, 60, "status tells of the damage")
    stack.forget_tokens()
    answer = _create(stack)
    assert answer.status == 503, answer
    assert b"lightcurve recover" in answer.body


def _create(stack: LiveStack) -> Answer:
    image = stack.call("GET", "/image/v2/images?name=tiny").json()["images"][0]["id"]
    server = {"name": "new", "flavorRef": "42", "imageRef": image, "networks": "none"}
    return stack.call("POST", "/compute/v2.1/servers", {"server": server})


def _creates_again(stack: LiveStack) -> bool:
    try:
        answer = _create(stack)
    except OSError:
        return False
    if answer.status != 202:
        return False
    stack.await_status(answer.json()["server"]["id"], "ACTIVE")
    return True
