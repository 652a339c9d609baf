"""The streams and buckets of a cell: made if absent, checked if present."""

import asyncio
from typing import Any

from adapters.nats.connection import ApiError, Connection, NoAnswer
from adapters.nats.names import Names
from domain.errors import LightcurveError, Unavailable

NANOSECONDS = 1_000_000_000
DUPLICATE_WINDOW = 120
"""Seconds in which the same event or command id is stored once."""
MAX_EVENT_BYTES = 4 * 1024 * 1024
MAX_COMMAND_BYTES = 1024 * 1024
SIGN_OF_LIFE_KEPT = 24 * 3600
"""Seconds for which the last beat of a silent sender is kept."""
MAX_SIGN_BYTES = 64 * 1024
"""Of a sign of life; a larger one is not stored."""
MAX_SENDERS = 200_000
"""Whose signs of life are kept; the oldest sign makes room."""
_STREAM_NOT_FOUND = 10059
_READY_TIMEOUT = 15.0
_RETRY = 0.1

Config = dict[str, Any]


class WrongStream(LightcurveError):
    """A stream that is there is not what the log needs; changing it is the operator's decision."""

    code = "wrong_stream"

    def __init__(self, stream: str, setting: str, found: object, wanted: object) -> None:
        super().__init__(f"Stream {stream}: {setting} is {found!r}, and has to be {wanted!r}.")
        self.stream, self.setting, self.found, self.wanted = stream, setting, found, wanted


def durable(names: Names, replicas: int = 1) -> list[Config]:
    """What must survive: events, commands, snapshots, keys."""
    kept: Config = {
        "storage": "file",
        "num_replicas": replicas,
        "discard": "old",
        "duplicate_window": DUPLICATE_WINDOW * NANOSECONDS,
        "max_msgs": -1,
        "max_bytes": -1,
        "max_age": 0,
    }
    bucket: Config = kept | {
        "retention": "limits",
        "max_msgs_per_subject": 1,
        "allow_direct": True,
        "allow_rollup_hdrs": True,
        "discard": "new",
    }
    return [
        kept
        | {
            "name": names.events,
            "subjects": [names.every_event],
            "retention": "limits",
            "max_msgs_per_subject": -1,
            "max_msg_size": MAX_EVENT_BYTES,
            "deny_delete": True,
            "deny_purge": True,
            "allow_direct": True,
            "allow_atomic": True,
        },
        kept
        | {
            "name": names.commands,
            "subjects": [names.command("*")],
            "retention": "workqueue",
            "max_msgs_per_subject": -1,
            "max_msg_size": MAX_COMMAND_BYTES,
        },
        bucket | {"name": names.snapshots, "subjects": [f"$KV.{names.snapshots[3:]}.>"]},
        bucket | {"name": names.keys, "subjects": [f"$KV.{names.keys[3:]}.>"]},
    ]


def fleeting(names: Names) -> list[Config]:
    """What lives in the server's memory: the last word of each sender. Gone when the server restarts."""
    last: Config = {
        "storage": "memory",
        "retention": "limits",
        "discard": "old",
        "num_replicas": 1,
        "max_msgs_per_subject": 1,
        "allow_direct": True,
        "max_msgs": -1,
        "max_bytes": -1,
    }
    return [
        last
        | {
            "name": names.liveness,
            "subjects": [f"alive.{names.cell}.>"],
            "max_age": SIGN_OF_LIFE_KEPT * NANOSECONDS,
            "max_msgs": MAX_SENDERS,
            "max_msg_size": MAX_SIGN_BYTES,
        },
        last | {"name": names.positions, "subjects": [names.position("*")], "max_age": 0},
    ]


async def ensure(connection: Connection, wanted: list[Config], timeout: float = _READY_TIMEOUT) -> None:
    """Make the streams that are absent and check the others; one in memory is changed to what it has to be.

    Raises WrongStream naming the first setting that differs; Unavailable if JetStream is not ready within
    ``timeout`` seconds.
    """
    try:
        async with asyncio.timeout(timeout):
            for config in wanted:
                await _ensure(connection, config)
    except TimeoutError:
        raise Unavailable("JetStream was not ready in time.") from None


async def ensure_cell(connection: Connection, cell: str, replicas: int = 1) -> None:
    """Make or check everything that one cell needs on NATS; errors as ``ensure``."""
    names = Names(cell)
    await ensure(connection, durable(names, replicas) + fleeting(names))


async def _ensure(connection: Connection, wanted: Config) -> None:
    name = wanted["name"]
    while True:
        try:
            try:
                info = await connection.api(f"STREAM.INFO.{name}")
            except ApiError as error:
                if error.err_code != _STREAM_NOT_FOUND:
                    raise
                info = await connection.api(f"STREAM.CREATE.{name}", wanted)
        except NoAnswer:
            # JetStream answers nothing while it still recovers its streams.
            await asyncio.sleep(_RETRY)
        else:
            break
    found = info["config"]
    # The server leaves out what is false or empty.
    wrong = [setting for setting, value in wanted.items() if found.get(setting, type(value)()) != value]
    if wrong and wanted["storage"] == found["storage"] == "memory":
        await connection.api(f"STREAM.UPDATE.{name}", found | wanted)
    elif wrong:
        raise WrongStream(name, wrong[0], found.get(wrong[0]), wanted[wrong[0]])
