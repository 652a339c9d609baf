"""Prints the events of a cell's log, as any consumer of CloudEvents reads them on NATS; nothing here is ours.

python cloud_events.py CELL [POSITION]   from behind that position on, for ever
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from datetime import datetime
from urllib.parse import unquote

import nats
from cloudevents.core.v1.event import CloudEvent
from nats.aio.msg import Msg
from nats.js.errors import NotFoundError


async def events(cell: str, position: int) -> AsyncIterator[tuple[int, CloudEvent]]:
    """Each event behind the position, with its own, in order, without a gap."""
    env = {name: os.environ[f"CELL_LOG_{name.upper()}"] for name in ("user", "password")}
    client = await nats.connect(os.environ["CELL_LOG_URL"], **env)
    stream, subject, news = client.jetstream(), f"cell.{cell}.event.>", asyncio.Event()

    async def heard(_: Msg) -> None:
        news.set()

    await client.subscribe(subject, cb=heard)
    while True:
        news.clear()
        try:
            found = await stream.get_msg(f"CELL_{cell}", position + 1, subject=subject, direct=True, next=True)
        except NotFoundError:
            await news.wait()
            continue
        position = found.seq or 0
        headers = {name[3:]: unquote(value) for name, value in (found.headers or {}).items() if name[:3] == "ce-"}
        attributes = headers | {"time": datetime.fromisoformat(headers["time"])}
        yield position, CloudEvent(attributes, found.data)


async def main(cell: str, position: str = "0") -> None:
    async for place, event in events(cell, int(position)):
        print(place, event.get_time(), event.get_type(), event.get_subject(), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
