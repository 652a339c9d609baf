"""Who types a command while the log does not answer is told so, and soon; roles wait longer for it."""

from pathlib import Path

import pytest

from adapters.nats.connection import Connection
from domain.errors import Unavailable
from ops.embedded.nats import free_port
from ops.roles.plane import COMMAND_SECONDS, CONNECT_SECONDS, open_plane
from ops.settings import NatsSettings, Settings
from tests.aio import asynchronous

OPS = Path(__file__).parents[2] / "ops"
PART_OF_A_START = {"seed.py"}


def test_every_command_says_how_long_it_waits() -> None:
    opened = [
        (file.name, line)
        for file in OPS.glob("*.py")
        if file.name not in PART_OF_A_START
        for line in file.read_text().splitlines()
        if "open_plane(" in line
    ]
    assert len(opened) > 10
    assert [name for name, line in opened if "COMMAND_SECONDS" not in line] == []
    assert COMMAND_SECONDS < CONNECT_SECONDS


@asynchronous
async def test_it_is_what_the_connection_waits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    waited = []

    async def refuse(
        _self: Connection, _url: str, _name: str, _credentials: object, timeout: float, _tls: object
    ) -> None:
        waited.append(timeout)
        raise Unavailable("")

    monkeypatch.setattr(Connection, "open", refuse)
    settings = Settings(state_dir=tmp_path, nats=NatsSettings(url=f"nats://127.0.0.1:{free_port()}"))
    for patience in (COMMAND_SECONDS, CONNECT_SECONDS):
        with pytest.raises(Unavailable):
            async with open_plane(settings, "test", patience):
                raise AssertionError
    assert waited == [COMMAND_SECONDS, CONNECT_SECONDS]
