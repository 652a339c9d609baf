"""Every name that the log uses on NATS, in one place."""

import re
from functools import lru_cache

from domain.errors import Invalid
from domain.fleet.host import is_simulated
from domain.log.record import AggregateId

_CELL = re.compile(r"[a-z0-9-]{1,63}")
_PLAIN = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPE = re.compile(r"[^A-Za-z0-9_-]")
_ESCAPED = re.compile(r"((?:=[0-9A-F]{2})+)")
SIMULATED = "sim-"
"""In the place of a host, all simulated ones; no host can be called so."""
MAX_TOKEN = 2048
"""Bytes of one token of a subject. A protocol line of more than 4,096 bytes, with subject, place for the answer and
lengths, makes NATS end the connection."""


@lru_cache(maxsize=4096)
def token(text: str) -> str:
    """``text`` as one token of a subject, also fit for a consumer's name or a bucket's key. Reversible.

    Raises Invalid for what can be no name: nothing, too much, half a character.
    The equals sign escapes, because it is the one that subjects, consumer names and keys all allow.
    """
    if not text:
        raise Invalid("A name on the log must not be empty.")
    escaped = text
    if len(text) <= MAX_TOKEN and not _PLAIN.fullmatch(text):
        try:
            escaped = _ESCAPE.sub(lambda match: "".join(f"={byte:02X}" for byte in match[0].encode()), text)
        except UnicodeEncodeError:
            raise Invalid("A name on the log must be valid Unicode.") from None
    if len(escaped) > MAX_TOKEN:
        raise Invalid(f"A name of {len(text)} characters is too long for the log.")
    return escaped


def untoken(escaped: str) -> str:
    """The inverse of ``token``. Raises Invalid for what ``token`` never makes."""
    if "=" not in escaped:
        return escaped
    try:
        return _ESCAPED.sub(lambda match: bytes.fromhex(match[0].replace("=", "")).decode(), escaped)
    except UnicodeDecodeError:
        raise Invalid(f"{escaped[:100]!r} is no name on the log.") from None


def _any(name: str) -> str:
    return name if name == "*" else token(name)


class Names:
    """The streams, buckets and subjects of one cell. Raises Invalid for a cell name outside ``[a-z0-9-]``."""

    def __init__(self, cell: str) -> None:
        if not _CELL.fullmatch(cell):
            raise Invalid(f"The cell name {cell!r} is not made of 1 to 63 of a-z, 0-9 and the hyphen.")
        self.cell = cell
        self.events = f"CELL_{cell}"
        self.commands = f"COMMANDS_{cell}"
        self.liveness = f"LIVENESS_{cell}"
        self.positions = f"POSITIONS_{cell}"
        self.snapshots = f"KV_SNAPSHOTS_{cell}"
        self.keys = f"KV_KEYS_{cell}"
        self._event = f"cell.{cell}.event."

    def event(self, aggregate: AggregateId) -> str:
        """Where an aggregate's events stand."""
        return f"{self._event}{aggregate.kind}.{token(aggregate.id)}"

    def aggregate(self, subject: str) -> AggregateId:
        """The inverse of ``event``."""
        kind, _, id_ = subject.removeprefix(self._event).partition(".")
        return AggregateId(kind, untoken(id_))

    def kind(self, kind: str) -> str:
        """Where the events of all aggregates of a kind stand."""
        return f"{self._event}{kind}.*"

    @property
    def every_event(self) -> str:
        """Where all events stand."""
        return f"{self._event}>"

    def command(self, host: str) -> str:
        """The queue of one host; ``*`` for all queues. Simulated hosts share one: one process plays all of them, and
        to keep thousands of queues apart takes the server seconds, at each of its starts, too."""
        return f"cell.{self.cell}.command.{SIMULATED if is_simulated(host) else _any(host)}"

    def report(self, host: str) -> str:
        """Where a host reports; ``*`` for all hosts."""
        return f"cell.{self.cell}.report.{_any(host)}"

    def receiver(self, name: str) -> str:
        """Where a receiver of commands asks to be admitted; ``*`` for all."""
        return f"cell.{self.cell}.receiver.{_any(name)}"

    def question(self, host: str) -> str:
        """Where a host answers questions."""
        return f"cell.{self.cell}.question.{token(host)}"

    def position(self, projection: str) -> str:
        """Where a projection announces how far it has read; ``*`` for all projections."""
        return f"cell.{self.cell}.position.{_any(projection)}"

    def alive(self, name: str) -> str:
        """Where a sender's signs of life stand; the parts of ``role/host`` are tokens of their own."""
        return f"alive.{self.cell}." + ".".join(token(part) for part in name.split("/"))

    def sender(self, alive: str) -> str:
        """The inverse of ``alive``: whose signs of life stand on a subject. Raises Invalid."""
        return "/".join(untoken(part) for part in alive.split(".")[2:])

    def snapshot(self, aggregate: AggregateId) -> str:
        """The key of an aggregate's snapshot."""
        return f"$KV.SNAPSHOTS_{self.cell}.{aggregate.kind}.{token(aggregate.id)}"

    def key(self, owner: str) -> str:
        """The key of an owner's encryption key."""
        return f"$KV.KEYS_{self.cell}.{token(owner)}"

    def key_owner(self, key: str) -> str:
        """The inverse of ``key``. Raises Invalid."""
        return untoken(key.rpartition(".")[2])
