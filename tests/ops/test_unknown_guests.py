"""A guest of which the log knows nothing is given up, by an event; one that it knows is not."""

import uuid
from pathlib import Path

import msgspec
import pytest

from domain.errors import Invalid, Refused
from domain.server import state
from domain.server.creation import ServerAbandoned
from ops.embedded.nats import NatsProcess
from ops.roles.plane import open_plane
from ops.settings import DatabaseSettings
from ops.unknown_guests import remove_guest
from tests.aio import asynchronous
from tests.domain.server.servers import REQUESTED
from tests.ops.parts import settings_for, tell

pytestmark = pytest.mark.nats


@asynchronous
async def test_only_an_unknown_guest_is_given_up(mortal: NatsProcess, tmp_path: Path) -> None:
    settings = msgspec.structs.replace(settings_for(mortal.server, "", tmp_path), database=DatabaseSettings(url=""))
    known, unknown = str(uuid.uuid4()), str(uuid.uuid4())
    async with open_plane(settings, "test") as plane:
        requested = msgspec.structs.replace(REQUESTED, server_id=known)
        await tell(plane, plane.store, state.aggregate(known), requested)
        with pytest.raises(Refused, match=f"The log knows server {known}: it is building"):
            await remove_guest(settings, known)
        for _ in range(2):
            await remove_guest(settings, unknown)
        (recorded,) = await plane.store.load(state.aggregate(unknown))
        assert recorded.event == ServerAbandoned(server_id=unknown)
    with pytest.raises(Invalid, match=r"'x+…' is no id of a server"):
        await remove_guest(settings, "x" * 1000)
