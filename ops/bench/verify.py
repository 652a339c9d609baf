"""How fast an exported log is verified.

``python -m ops.bench.verify [--events 1000000]`` writes a log of that many events, of the size and the lengths of
history that those of servers have, signs it as the projector does, and verifies it on one core: from each kind of
file, and what each part of it costs.
"""

import argparse
import tempfile
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from adapters.log_file import FORMAT, SUFFIXES, Head, LogFile, LogWriter, Tail, line_of
from adapters.mapper import EventMapper
from adapters.nats.connection import header_block
from adapters.nats.names import Names
from adapters.notes import SigningKey
from domain.catalogue.keypair import KeypairCreated
from domain.kinds import EVENTS
from domain.log import checkpoint
from domain.log.checkpoint import CheckpointSigned, Entry
from domain.log.merkle import Frontier
from domain.log.record import GENESIS, AggregateId, Event, Metadata
from domain.log.record import Tail as Guard
from ops import garbage
from ops.settings import CheckpointSettings
from ops.verify import verify_file

CELL, HISTORY = "cell1", 5
"""How many events an aggregate has."""
BODY = 340
"""Characters, so that an event has the mean size of those of a creation: 614 bytes of headers, 444 of body."""
YARDSTICK = 50_000
"""Events."""
SIGNED_EVERY = CheckpointSettings().events
KEY = SigningKey.new()


def entries(count: int) -> Iterator[Entry]:
    """A log, with its checkpoints."""
    mapper, names, tree = EventMapper(EVENTS), Names(CELL), Frontier()
    tails: dict[AggregateId, Guard] = {}
    waiting: list[bytes] = []
    time_, place = datetime(2030, 1, 1, tzinfo=UTC), checkpoint.aggregate(CELL)
    for position in range(1, count + 1):
        event: Event
        if len(waiting) >= SIGNED_EVERY:
            tree.extend(waiting)
            note = KEY.sign(CELL, tree.size, tree.root)
            at, leaves = place, b"".join(waiting)
            event = CheckpointSigned(note=note, size=tree.size, leaves=leaves, frontier=b"".join(tree.hashes))
            waiting = []
        else:
            at = AggregateId("server", str(uuid.UUID(int=position // HISTORY)))
            event = KeypairCreated(name="k", key_type="ssh", public_key=_text(), fingerprint="f")
        meta = Metadata(
            event_id=str(uuid.uuid4()),
            time=time_ + timedelta(milliseconds=position),
            request_id=f"req-{uuid.uuid4()}",
        )
        tail = tails.get(at, GENESIS)
        envelope = mapper.encode(CELL, at, event, meta, tail)
        tails[at] = Guard(tail.version + 1, position, envelope.digest)
        guards = {"Nats-Msg-Id": meta.event_id, "Nats-Expected-Last-Subject-Sequence": str(tail.position)}
        entry = Entry(position, names.event(at), header_block(envelope.headers | guards), envelope.body)
        waiting.append(entry.leaf)
        yield entry


def _text() -> str:
    """Of which a compressor cannot make much."""
    return "".join(uuid.uuid4().hex for _ in range(BODY // 32))


def write(directory: Path, count: int) -> list[Path]:
    """The log in a file of each kind."""
    files = [directory / f"{CELL}{suffix if suffix == '.jsonl' else '.jsonl' + suffix}" for suffix in SUFFIXES]
    outputs = [LogWriter(file) for file in files]
    tree, spent = Frontier(), [0.0] * len(outputs)
    for output in outputs:
        output.head(Head(format=FORMAT, cell=CELL, exported="2030-01-01T00:00:00Z", last=count))
    for entry in entries(count):
        line = line_of(entry)
        tree.extend([entry.leaf])
        for at, output in enumerate(outputs):
            begun = time.process_time()
            output.line(line)
            spent[at] += time.process_time() - begun
    for at, output in enumerate(outputs):
        output.end(Tail(events=count, root=tree.root))
        size = files[at].stat().st_size
        print(f"{files[at].suffix:<7} {size / count:6.0f} bytes an event; written at {count / spent[at]:10,.0f} /s")
    return files


def measure(name: str, count: int, begun: tuple[float, float]) -> None:
    """Print a rate, by the clock and by the processor."""
    wall, cpu = time.monotonic() - begun[0], time.process_time() - begun[1]
    print(f"{name:<42} {count / wall:10,.0f} /s   {cpu / count * 1e6:6.2f} us of CPU an event")


def now() -> tuple[float, float]:
    """Clock and processor."""
    return time.monotonic(), time.process_time()


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    count = parser.parse_args().events
    garbage.wait()  # as the command does
    with tempfile.TemporaryDirectory() as directory:
        files = write(Path(directory), count)
        for file in files:
            begun = now()
            verdict = verify_file(file, [KEY.public(CELL)])
            assert verdict.good, verdict.text
            measure(f"verify {file.name}", count, begun)
        hashed = [entry.headers + entry.body for entry in entries(YARDSTICK)]
        begun = now()
        for each in hashed:
            sha256(each).digest()
        measure("yardstick: one SHA-256 over each event", YARDSTICK, begun)
        begun = now()
        for _ in LogFile(files[0]).batches():
            pass
        measure(f"  of it, reading {files[0].name}", count, begun)


if __name__ == "__main__":
    main()
