"""A project's block storage, under whatever is asked: counts are right, and every decision can be taken anew."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, get_args

import pytest

from domain.catalogue.quota import Limits
from domain.errors import Invalid, LightcurveError, Refused
from domain.log.record import AggregateId, Recorded
from domain.neighbours.volume import attachments, quotas, snapshots, volumes
from domain.neighbours.volume.changes import (
    IMAGE,
    SNAPSHOT,
    VOLUME,
    AttachmentConnected,
    AttachmentReserved,
    Changed,
    SnapshotRequested,
    Source,
    StorageChange,
    StorageChanged,
    VolumeLimits,
    VolumeRequested,
)
from domain.neighbours.volume.state import AVAILABLE, DELETING, Storage
from domain.redecision import Redecision
from tests.domain.server.servers import meta

AT = datetime(2030, 1, 1, tzinfo=UTC)
LIMITS = VolumeLimits(volumes=4, snapshots=4, gigabytes=30)
Changes = Sequence[StorageChange]


def wanted(volume_id: str, size_gb: int = 1, at: datetime = AT, **more: Any) -> VolumeRequested:
    return VolumeRequested(
        volume_id=volume_id, project_id="p", user_id=None, name=None, size_gb=size_gb, type_id="t",
        availability_zone="nova", at=at, **more,
    )  # fmt: skip


def kept(snapshot_id: str, volume_id: str, at: datetime = AT) -> SnapshotRequested:
    return SnapshotRequested(
        snapshot_id=snapshot_id, volume_id=volume_id, project_id="p", user_id=None, name=None, size_gb=0, at=at
    )


def done(state: Storage, changes: Changes) -> Storage:
    for change in changes:
        state.apply(change)
    return state


def made(*volume_ids: str, size_gb: int = 1) -> Storage:
    state = Storage()
    for volume_id in volume_ids:
        done(state, volumes.request(state, LIMITS, wanted(volume_id, size_gb)))
        done(state, volumes.made(state, volume_id, AT))
    return state


def test_what_is_copied_stays_as_it_is() -> None:
    state = made("v")
    done(state, volumes.request(state, LIMITS, wanted("copy", source=Source(kind=VOLUME, id="v"))))
    with pytest.raises(Invalid, match="copied"):
        volumes.delete(state, "v", AT, None, force=True)
    with pytest.raises(Invalid, match="copied"):
        volumes.extend(state, LIMITS, "v", 2, AT, None, in_use=False)
    done(state, volumes.failed(state, "copy", "no room", AT))
    assert state.volumes["copy"].status == "error"
    assert volumes.delete(state, "v", AT, None)


def test_what_was_said_of_its_status_makes_no_bytes() -> None:
    """An operator may say anything; whether something is still being made is another matter."""
    state = Storage()
    done(state, volumes.request(state, LIMITS, wanted("v")))
    done(state, volumes.reset(state, "v", AVAILABLE, AT, None))
    for ask in (
        lambda: volumes.extend(state, LIMITS, "v", 2, AT, None, in_use=False),
        lambda: snapshots.request(state, LIMITS, kept("s", "v"), in_use=True),
        lambda: volumes.request(state, LIMITS, wanted("w", source=Source(kind=VOLUME, id="v"))),
        lambda: attachments.reserve(
            state, AttachmentReserved(attachment_id="a", volume_id="v", instance_id="i", at=AT)
        ),
    ):
        with pytest.raises(Invalid):
            ask()
    done(state, volumes.made(state, "v", AT))
    done(state, volumes.reset(state, "v", DELETING, AT, None))
    assert (state.volumes["v"].work, dict(state.open)) == (None, {})


def test_whatever_is_said_of_its_status_a_volume_is_at_one_server() -> None:
    state = made("v")
    for server, allowed in (("one", True), ("other", False), ("one", True)):
        asked = AttachmentReserved(attachment_id=server, volume_id="v", instance_id=server, at=AT)
        if allowed:
            done(state, attachments.reserve(state, asked))
        else:
            with pytest.raises(Invalid, match="to reserve"):
                attachments.reserve(state, asked)
        done(state, volumes.reset(state, "v", AVAILABLE, AT, None))


def test_a_volume_goes_after_its_snapshots() -> None:
    state = made("v")
    done(state, snapshots.request(state, LIMITS, kept("s", "v"), in_use=False))
    done(state, snapshots.made(state, "s", AT))
    with pytest.raises(Invalid, match="have snapshots"):
        volumes.delete(state, "v", AT, None)
    done(state, volumes.delete(state, "v", AT, None, cascade=True))
    assert volumes.gone(state, "v", AT) == ()
    done(state, snapshots.gone(state, "s", AT))
    done(state, volumes.gone(state, "v", AT))
    assert (state.volumes, state.snapshots, state.gigabytes, dict(state.open)) == ({}, {}, 0, {})


def test_growth_that_failed_is_given_back() -> None:
    state = made("v", size_gb=20)
    done(state, volumes.extend(state, LIMITS, "v", 30, AT, None, in_use=False))
    assert state.gigabytes == 30
    with pytest.raises(Refused, match="Requested 1G, quota is 30G and 30G has been consumed"):
        volumes.request(state, LIMITS, wanted("w"))
    done(state, volumes.failed(state, "v", "no room", AT))
    assert (state.gigabytes, state.volumes["v"].status, state.volumes["v"].size_gb) == (20, "error_extending", 20)


class Storm:
    """Asks for anything, in any order, and notes what was recorded."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.state = Storage()
        self.recorded: list[StorageChange] = []
        self.refused = 0
        self.at = AT
        self.number = 0

    def new(self) -> str:
        self.number += 1
        return f"{self.number}"

    def some(self, things: dict[str, Any]) -> str:
        return self.random.choice([*things, "none"])

    def step(self) -> None:
        self.at += timedelta(seconds=1)
        try:
            changes = self.random.choice(self.asks())()
        except LightcurveError:
            self.refused += 1
            return
        undos = [self.state.apply(change) for change in changes]
        if self.random.random() < 0.1:
            # The log did not take it.
            for undo in reversed(undos):
                undo()
            return
        self.recorded += changes

    def asks(self) -> list[Callable[[], Changes]]:
        state, at, random = self.state, self.at, self.random
        volume, snapshot = self.some(state.volumes), self.some(state.snapshots)
        attachment = self.some(state.attachments)
        source = random.choice([
            None, Source(kind=IMAGE, id="i"), Source(kind=VOLUME, id=volume), Source(kind=SNAPSHOT, id=snapshot),
        ])  # fmt: skip
        asked = wanted(self.new(), random.randint(1, 9), at, source=source, multiattach=random.random() < 0.3)
        reserved = AttachmentReserved(
            attachment_id=self.new(), volume_id=volume, instance_id=random.choice(("a", "b", None)), at=at
        )
        connected = AttachmentConnected(
            attachment_id=attachment, host="h", mountpoint=None, attach_mode=random.choice(("rw", "ro")), at=at
        )
        limits = random.choice([None, VolumeLimits(volumes=9, gigabytes=-1)])
        return [
            lambda: volumes.request(state, LIMITS, asked),
            *[lambda: volumes.made(state, volume, at), lambda: snapshots.made(state, snapshot, at)] * 4,
            lambda: volumes.failed(state, volume, "why", at),
            lambda: volumes.extend(state, LIMITS, volume, random.randint(2, 12), at, None, in_use=True),
            lambda: volumes.update(state, volume, at, None, name="n", readonly=random.random() < 0.5),
            lambda: volumes.reset(state, volume, random.choice(volumes.STATUSES), at, None),
            lambda: volumes.delete(state, volume, at, None, cascade=True, force=random.random() < 0.3),
            *[lambda: volumes.gone(state, volume, at), lambda: snapshots.gone(state, snapshot, at)] * 2,
            lambda: snapshots.request(state, LIMITS, kept(self.new(), volume, at), in_use=True),
            lambda: snapshots.failed(state, snapshot, "why", at),
            lambda: snapshots.update(state, snapshot, at, None, name=self.new()),
            lambda: snapshots.reset(state, snapshot, random.choice(snapshots.STATUSES), at, None),
            lambda: snapshots.delete(state, snapshot, at, None),
            *[lambda: attachments.reserve(state, reserved), lambda: attachments.connect(state, connected)] * 3,
            lambda: attachments.complete(state, attachment, at, None),
            lambda: attachments.delete(state, attachment, at, None),
            lambda: quotas.set_limits(state, LIMITS, limits, at, None),
        ]

    def check(self) -> None:
        state = self.state
        weights = [volume.counted_gb for volume in state.volumes.values()]
        weights += [snapshot.size_gb for snapshot in state.snapshots.values()]
        assert state.gigabytes == sum(weights)
        things = [*state.volumes.values(), *state.snapshots.values()]
        assert set(state.open) == {thing.id for thing in things if thing.work}
        assert {each.volume_id for each in state.snapshots.values()} <= state.volumes.keys()
        assert {each.volume_id for each in state.attachments.values()} <= state.volumes.keys()
        for volume in state.volumes.values():
            servers = {each.instance_id for each in state.attachments_of(volume.id)}
            assert volume.multiattach or len(servers) <= 1, volume


def shown(state: Storage) -> dict[str, Any]:
    return {name: value for name, value in vars(state).items() if name != "_of_type"}


@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_asked(seed: int) -> None:
    storm = Storm(seed)
    for _ in range(600):
        storm.step()
        storm.check()
    assert storm.refused > 50
    assert shown(done(Storage(), storm.recorded)) == shown(storm.state), "nothing is left of what was taken back"
    redecision = Redecision(Limits())
    for number, change in enumerate(storm.recorded, start=1):
        recorded = Recorded(
            cell="api", aggregate=AggregateId("storage", "p"), version=number, position=number,
            event=StorageChanged(changes=(change,)), meta=meta(number), digest="", previous="",
        )  # fmt: skip
        assert [each.instead for each in redecision.take(recorded)] == [], change


def test_the_storm_has_everything() -> None:
    found: set[type] = set()
    for seed in range(12):
        storm = Storm(seed)
        for _ in range(600):
            storm.step()
        found |= {type(change) for change in storm.recorded}
    assert found == set(get_args(Changed))
