"""``lightcurve checkpoint --inclusion`` and ``--consistency``: short proofs about a signed log, in the transparency
world's own formats.

That a position is in it: https://c2sp.org/tlog-proof, with the message as the extra data. That an earlier checkpoint
speaks of its beginning: what https://c2sp.org/tlog-witness has a log tell its witnesses.
"""

from base64 import b64encode
from contextlib import aclosing
from typing import NamedTuple

from adapters.nats.store import NatsEventStore
from domain.errors import Invalid, Unavailable
from domain.log.checkpoint import CheckpointSigned, Entry, aggregate
from domain.log.merkle import Tree
from ops.checkpoint import checkpoints
from ops.log_export import head_of, looked_at, up_to
from ops.progress import Progress
from ops.roles.plane import COMMAND_SECONDS, open_plane
from ops.settings import Settings

TLOG_PROOF = "c2sp.org/tlog-proof@v1"


class _Signed(NamedTuple):
    """A log up to its last checkpoint, which is good."""

    note: str
    tree: Tree
    entry: Entry | None
    """At the position that is asked for."""


async def show_inclusion(settings: Settings, cell: str | None, position: int) -> None:
    """Print the proof that what stands at a position is in the signed log. Raises LightcurveError."""
    signed = await _signed(settings, cell, position)
    if signed.entry is None:
        raise Invalid(f"There is no event at position {position} of what is signed, up to {signed.tree.size}.")
    proof = signed.tree.inclusion(position - 1, signed.tree.size)
    head = f"{TLOG_PROOF}\nextra {_text(signed.entry.content)}\nindex {position - 1}\n"
    print(f"{head}{_lines(proof)}\n{signed.note}", end="")


async def show_consistency(settings: Settings, cell: str | None, size: int) -> None:
    """Print the proof that the log is what it was when ``size`` positions were signed, and more. Raises
    LightcurveError."""
    signed = await _signed(settings, cell, None)
    if not 0 < size <= signed.tree.size:
        raise Invalid(f"A checkpoint is of 1 to {signed.tree.size} positions here, and not of {size}.")
    print(f"old {size}\n{_lines(signed.tree.consistency(size, signed.tree.size))}\n{signed.note}", end="")


def _lines(hashes: list[bytes]) -> str:
    return "".join(f"{_text(each)}\n" for each in hashes)


def _text(raw: bytes) -> str:
    return b64encode(raw).decode()


async def _signed(settings: Settings, cell: str | None, position: int | None) -> _Signed:
    wanted = cell or settings.cell
    async with open_plane(settings, "proofs", COMMAND_SECONDS) as plane:
        store = next((store for store in plane.stores if store.cell == wanted), None)
        if store is None:
            raise Invalid(f"There is no log of a cell {wanted} here.")
        await checkpoints(plane, store).sign()
        return await _read(store, position)


async def _read(store: NatsEventStore, position: int | None) -> _Signed:
    recorded = await store.last_of(aggregate(store.cell))
    signed = recorded.event if recorded else None
    if recorded is None or not isinstance(signed, CheckpointSigned):
        raise Unavailable(f"Nothing of cell {store.cell} is signed yet: lightcurve checkpoint")
    leaves: list[bytes] = []
    found, entry = looked_at(head_of(store, signed.size), leaves), None
    with Progress(f"reading {store.cell}") as progress:
        async with aclosing(up_to(store, 0, recorded.position)) as batches:  # type: ignore[type-var]
            async for entries in batches:
                found.take(entries)
                entry = next((each for each in entries if each.position == position), entry)
                progress.show(entries[-1].position, recorded.position, found.events)
    if found.finding or found.signed != signed.size:
        raise Invalid(f"The log of cell {store.cell} is not as it was signed: lightcurve verify tells where.")
    return _Signed(signed.note, Tree(leaves), entry if entry and entry.position <= signed.size else None)
