"""A cloud is exported, and imported elsewhere: it answers and verifies like the first. Others check what they get."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.e2e.live_stack import LiveStack, wait_until

SMALL = Path(__file__).parents[2] / "ops" / "verifier" / "verify_log.py"
ASKED = (
    "/compute/v2.1/flavors/detail?is_public=None",
    "/compute/v2.1/os-keypairs",
    "/compute/v2.1/limits",
    "/compute/v2.1/servers/detail?all_tenants=1",
    "/compute/v2.1/servers/{gone}/os-instance-actions",
    "/network/v2.0/networks",
    "/image/v2/images",
)


@pytest.fixture
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStack]:
    live = LiveStack(tmp_path_factory.mktemp("first"), "--simulated-hosts", "3")
    live.up()
    yield live
    live.down()


@pytest.fixture
def second(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStack]:
    live = LiveStack(tmp_path_factory.mktemp("second"), "--simulated-hosts", "3")
    yield live
    live.down()


def _past(stack: LiveStack) -> str:
    """A server that came and went."""
    _keypair(stack, "kept")
    gone = stack.create("gone")
    stack.await_status(gone, "ACTIVE")
    assert stack.call("DELETE", f"/compute/v2.1/servers/{gone}").status == 204
    assert wait_until(lambda: stack.show(gone) is None, 30)
    return gone


def _keypair(stack: LiveStack, name: str) -> None:
    public = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    answer = stack.call("POST", "/compute/v2.1/os-keypairs", {"keypair": {"name": name, "public_key": public}})
    assert answer.status == 201, answer


def _answers(stack: LiveStack, gone: str) -> dict[str, bytes]:
    found = {}
    for path in ASKED:
        answer = stack.call("GET", path.format(gone=gone))
        assert answer.status == 200, (path, answer)
        found[path] = answer.body.replace(stack.url.encode(), b"")
    return found


def test_a_cloud_goes_on_from_its_exported_logs(first: LiveStack, second: LiveStack, tmp_path: Path) -> None:
    gone = _past(first)
    before, told = _answers(first, gone), first.lightcurve("log", gone).stdout
    keys = tmp_path / "keys"
    keys.write_text(first.lightcurve("checkpoint", "--key").stdout)
    first.lightcurve("log", "export", str(tmp_path / "out"))
    verified = first.lightcurve("verify", "--redecide").stdout
    assert "whole" in verified
    assert verified.endswith("each is as it was recorded.\n"), verified
    first.lightcurve("down")

    second.lightcurve("log", "import", str(tmp_path / "out"), "--key", str(keys), *second.ports)
    second.up()
    assert _answers(second, gone) == before
    assert second.lightcurve("log", gone).stdout == told
    verified = second.lightcurve("verify")
    assert verified.stdout.count(": whole.") == 2

    _keypair(second, "new")
    second.lightcurve("checkpoint")
    assert second.lightcurve("verify").stdout.count(": whole.") == 2
    old = second.lightcurve("verify", "--key", str(keys), "--cell", "api", check=False)
    assert (old.returncode, "none of the given keys has signed it" in old.stdout) == (1, True)
    refused = second.lightcurve("log", "import", str(tmp_path / "out"), check=False)
    assert (refused.returncode, "Stop it first" in refused.stderr) == (1, True)


def test_evidence_is_checked_by_somebody_else(first: LiveStack, tmp_path: Path) -> None:
    gone = _past(first)
    keys = first.lightcurve("checkpoint", "--key").stdout.split()
    first.lightcurve("log", "export", str(tmp_path), "--server", gone, "--format", "gz")
    file = tmp_path / "cell1.part.jsonl.gz"
    good = subprocess.run([sys.executable, SMALL, file, *keys], capture_output=True, text=True, check=False)
    assert (good.returncode, "is in the log that was signed" in good.stdout) == (0, True), good
    first.lightcurve("log", "export", str(tmp_path), "--format", "jsonl")
    whole = tmp_path / "api.jsonl"
    text = whole.read_text()
    assert '\\"name\\":\\"kept\\"' in text
    whole.write_text(text.replace('\\"name\\":\\"kept\\"', '\\"name\\":\\"keqt\\"'))
    bad = first.lightcurve("verify", "--file", str(whole), "--key", *keys, check=False)
    assert (bad.returncode, "The first bad position is" in bad.stdout) == (1, True)
