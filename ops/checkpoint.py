"""``lightcurve checkpoint``: sign the logs up to now; the keys with which others check what was signed."""

from datetime import UTC, datetime

from adapters.nats.store import NatsEventStore
from domain.errors import LightcurveError
from domain.log.checkpoint import CheckpointSigned, aggregate
from handlers.log.checkpoints import Checkpoints, Interval
from ops.notary import FileNotary
from ops.roles.plane import COMMAND_SECONDS, Plane, open_plane
from ops.settings import Settings
from ops.tables import ago, table


def checkpoints(plane: Plane, store: NatsEventStore) -> Checkpoints:
    """Who signs a log."""
    wanted = plane.settings.checkpoints
    return Checkpoints(store, FileNotary(plane.settings), plane.stamp, Interval(wanted.events, wanted.seconds))


async def sign(settings: Settings) -> None:
    """Sign every log up to its end, and print the checkpoints. Raises LightcurveError."""
    FileNotary(settings).ensure_key()
    async with open_plane(settings, "checkpoint", COMMAND_SECONDS) as plane:
        for store in plane.stores:
            signed = await checkpoints(plane, store).sign()
            if signed is None:
                print(f"cell {store.cell}: its log is empty\n")
            else:
                print(f"cell {store.cell}: positions 1 to {signed.size} are signed\n\n{signed.note}")


def show_keys(settings: Settings) -> None:
    """Print the verifiers' keys; a first one is made. Raises LightcurveError."""
    FileNotary(settings).ensure_key()
    for key in FileNotary(settings).known_keys():
        print(key)


def renew_key(settings: Settings) -> None:
    """Replace the key, and print the new ones. Raises LightcurveError."""
    notary = FileNotary(settings)
    notary.ensure_key()
    notary.renew_key()
    print("From now on checkpoints are signed with a new key, under new names. Those of the old key stay good.")
    print("Give these to whoever checks your logs, beside the old ones:")
    show_keys(settings)


async def show_all(plane: Plane) -> None:
    """Print how far each log is signed, and the keys."""
    notary = FileNotary(plane.settings)
    rows, problems = [], []
    for store in plane.stores:
        recorded = await store.last_of(aggregate(store.cell))
        last = await store.last_position()
        event = recorded.event if recorded else None
        if recorded is None or not isinstance(event, CheckpointSigned):
            rows.append((store.cell, "nothing yet", last, ""))
            continue
        age = ago((datetime.now(UTC) - recorded.meta.time).total_seconds())
        rows.append((store.cell, f"position {event.size}", last - event.size, f"{age} ago"))
        try:
            notary.opened(event.note)
            kept = notary.kept(store.cell)
        except LightcurveError as error:
            problems.append(f"The checkpoint at position {recorded.position} of {store.cell}: {error.message}.")
        else:
            if kept and kept.size > last:
                problems.append(f"The log of {store.cell} was signed up to position {kept.size}: its end is gone.")
    table(("LOG", "SIGNED UP TO", "EVENTS SINCE", "WHEN"), rows)
    for line in (*problems, *(f"key {key}" for key in notary.known_keys())):
        print(line)
