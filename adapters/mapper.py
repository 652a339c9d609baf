"""Between events and what the log stores: an envelope of text headers, and a JSON body.

The envelope is CloudEvents 1.0 in its NATS binding
(https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/nats-protocol-binding.md), so that
any CloudEvents consumer can read the log. What CloudEvents does not know is an extension attribute.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

import msgspec
from eventsourcing.persistence import StoredEvent

from domain.errors import LightcurveError, OutOfOrder
from domain.log.record import AggregateId, Event, Metadata, Recorded, Tail, Unreadable

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
"""Turns the body of one schema version into that of the next."""

_TYPE_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
# The binding: everything outside U+0021..U+007E, and the double quote and the percent sign, is escaped.
_MUST_ESCAPE = re.compile(r"[^!#$&-~]")
_STAYS = "!#$&'()*+,/:;<=>?@[\\]^`{|}"


class UnknownEvent(LightcurveError):
    """The log holds (or was given) an event of a type or schema version that this program does not know."""

    code = "unknown_event"


class BrokenChain(OutOfOrder):
    """The log was altered or lost something: digests, versions or positions do not follow each other."""

    code = "broken_chain"


class Envelope(NamedTuple):
    """An event in its stored form."""

    headers: dict[str, str]
    """Sorted by name, all names starting with ``ce-``."""
    body: bytes
    digest: str


class _Type(NamedTuple):
    tag: str
    version: int
    cls: type[Event]
    decode: Callable[[bytes], Event]


class _State(msgspec.Struct):
    headers: dict[str, str]
    body: msgspec.Raw


class EventMapper:
    """Encodes and decodes the events of a closed list of types.

    ``upcasters`` maps (type name, version) to what turns that version's body into the next version's; it has
    to be complete for every type whose ``schema_version`` is above 1. Raises ValueError if the list is
    ambiguous, a name is not a stable one, or an upcaster is missing.
    """

    def __init__(
        self, events: Iterable[type[Event]], upcasters: Mapping[tuple[str, int], Upcaster] | None = None
    ) -> None:
        self._upcasters = dict(upcasters or {})
        self._by_tag: dict[str, _Type] = {}
        self._by_class: dict[type[Event], _Type] = {}
        self._encode = msgspec.json.Encoder().encode
        self._state = msgspec.json.Decoder(_State)
        for cls in events:
            self._register(cls)

    def _register(self, cls: type[Event]) -> None:
        tag = cls.__struct_config__.tag
        if not isinstance(tag, str) or not _TYPE_NAME.fullmatch(tag):
            raise ValueError(f"{cls.__name__} has no stable type name like 'server.requested': its tag is {tag!r}")
        if tag in self._by_tag:
            raise ValueError(f"{tag} is the type name of both {self._by_tag[tag].cls.__name__} and {cls.__name__}")
        for version in range(1, cls.schema_version):
            if (tag, version) not in self._upcasters:
                raise ValueError(f"{tag} has schema version {cls.schema_version} but no upcaster from {version}")
        known = _Type(tag, cls.schema_version, cls, msgspec.json.Decoder(cls).decode)
        self._by_tag[tag] = known
        self._by_class[cls] = known

    def encode(self, cell: str, aggregate: AggregateId, event: Event, meta: Metadata, tail: Tail) -> Envelope:
        """The stored form of the event that follows ``tail``. Raises UnknownEvent; ValueError for a naive time."""
        known = self._by_class.get(type(event))
        if known is None:
            raise UnknownEvent(f"{type(event).__name__} is not a registered event type.")
        # Inserted in sorted order, which is the order of the digest.
        headers = {"ce-aggregateversion": str(tail.version + 1)}
        if meta.causation_id is not None:
            headers["ce-causationid"] = escaped(meta.causation_id)
        headers["ce-datacontenttype"] = "application/json"
        if meta.global_request_id is not None:
            headers["ce-globalrequestid"] = escaped(meta.global_request_id)
        headers["ce-id"] = escaped(meta.event_id)
        headers["ce-previousdigest"] = tail.digest
        if meta.project_id is not None:
            headers["ce-projectid"] = escaped(meta.project_id)
        headers["ce-requestid"] = escaped(meta.request_id)
        headers["ce-schemaversion"] = str(known.version)
        headers["ce-source"] = f"/cells/{cell}"
        headers["ce-specversion"] = "1.0"
        headers["ce-subject"] = escaped(f"{aggregate.kind}.{aggregate.id}")
        headers["ce-time"] = _timestamp(meta.time)
        headers["ce-type"] = known.tag
        if meta.user_id is not None:
            headers["ce-userid"] = escaped(meta.user_id)
        body = self._encode(event)
        return Envelope(headers, body, digest(headers, body))

    def decode(self, headers: Mapping[str, str], body: bytes, position: int) -> Recorded:
        """The event of a stored message; headers outside the envelope are ignored.

        Raises UnknownEvent, and BrokenChain if this is no envelope at all.
        """
        try:
            kind, _, id_ = unescaped(headers["ce-subject"]).partition(".")
            event = self._event(headers["ce-type"], int(headers["ce-schemaversion"]), body)
            return Recorded(
                cell=headers["ce-source"].removeprefix("/cells/"),
                aggregate=AggregateId(kind, id_),
                version=int(headers["ce-aggregateversion"]),
                position=position,
                event=event,
                meta=_metadata(headers),
                digest=digest(headers, body),
                previous=headers["ce-previousdigest"],
            )
        except (KeyError, ValueError) as error:
            raise BrokenChain(f"The message at position {position} is not an event: {error!r}") from error

    def read(
        self, headers: Mapping[str, str], body: bytes, position: int, cell: str, aggregate: AggregateId
    ) -> Recorded:
        """As ``decode``; but what this program cannot read, or what stands in another's place, comes as Unreadable of
        the ``aggregate`` where it stands, so that a reader of many can go on with the others."""
        try:
            recorded = self.decode(headers, body, position)
            if recorded.cell != cell or recorded.aggregate != aggregate:
                raise BrokenChain(f"Position {position} holds an event of another place: {recorded.aggregate}.")
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, others follow
            reason = error.message if isinstance(error, LightcurveError) else repr(error)
            return Recorded(
                cell=cell,
                aggregate=aggregate,
                version=_version(headers),
                position=position,
                event=Unreadable(type_name=headers.get("ce-type", "unknown"), reason=reason),
                meta=_metadata_if_any(headers),
                digest=digest(headers, body),
                previous=headers.get("ce-previousdigest", ""),
            )
        return recorded

    def _event(self, tag: str, version: int, body: bytes) -> Event:
        known = self._by_tag.get(tag)
        if known is None:
            raise UnknownEvent(f"The log holds an event of type {tag}, which this program does not know.")
        if version == known.version:
            return known.decode(body)
        if version > known.version:
            raise UnknownEvent(
                f"The log holds {tag} in schema version {version}; this program knows it up to {known.version}."
            )
        fields: dict[str, Any] = msgspec.json.decode(body)
        for step in range(version, known.version):
            fields = self._upcasters[tag, step](fields)
        return msgspec.convert(fields, known.cls)

    def to_stored_event(self, recorded: Recorded) -> StoredEvent:
        """The ``eventsourcing`` library's form: the topic is ``type@version``, the state the whole envelope."""
        before = Tail(recorded.version - 1, 0, recorded.previous)
        envelope = self.encode(recorded.cell, recorded.aggregate, recorded.event, recorded.meta, before)
        return StoredEvent(
            originator_id=str(recorded.aggregate),
            originator_version=recorded.version,
            topic=f"{envelope.headers['ce-type']}@{envelope.headers['ce-schemaversion']}",
            state=pack(envelope.headers, envelope.body),
        )

    def to_domain_event(self, stored: StoredEvent, position: int = 0) -> Recorded:
        """The inverse of ``to_stored_event``, also of what a recorder over the log returns."""
        headers, body = unpack(stored.state)
        return self.decode(headers, body, position)


def digest(headers: Mapping[str, str], body: bytes) -> str:
    """SHA-256, in hex, over the sorted ``ce-`` headers as ``name:value`` lines, and the body."""
    lines = [f"{name}:{value}\n" for name, value in headers.items() if name.startswith("ce-")]
    lines.sort()
    return hashlib.sha256("".join(lines).encode() + body).hexdigest()


def follows(tail: Tail, recorded: Recorded) -> None:
    """Check that ``recorded`` is the direct successor of ``tail`` on its aggregate; raises BrokenChain."""
    if not recorded.follows(tail):
        raise BrokenChain(
            f"{recorded.aggregate} in cell {recorded.cell}: version {recorded.version} at position "
            f"{recorded.position} does not continue version {tail.version} at position {tail.position}."
        )


def pack(headers: Mapping[str, str], body: bytes) -> bytes:
    """One JSON document of an envelope."""
    named = {name: value for name, value in headers.items() if name.startswith("ce-")}
    return msgspec.json.encode(_State(named, msgspec.Raw(body)))


def unpack(state: bytes) -> tuple[dict[str, str], bytes]:
    """The inverse of ``pack``. Raises BrokenChain."""
    try:
        found = msgspec.json.decode(state, type=_State)
    except msgspec.MsgspecError as error:
        raise BrokenChain(f"A stored event's state is not an envelope: {error}") from error
    return found.headers, bytes(found.body)


def escaped(text: str) -> str:
    """A header's value on the wire."""
    return quote(text, safe=_STAYS) if _MUST_ESCAPE.search(text) else text


def unescaped(text: str) -> str:
    """The inverse of ``escaped``."""
    return unquote(text, errors="strict") if "%" in text else text


def _optional(text: str | None) -> str | None:
    return None if text is None else unescaped(text)


def _timestamp(time: datetime) -> str:
    if time.tzinfo is not UTC:
        if time.utcoffset() is None:
            raise ValueError("An event's time has to say its time zone.")
        time = time.astimezone(UTC)
    return time.isoformat(timespec="microseconds")[:26] + "Z"


def _metadata(headers: Mapping[str, str]) -> Metadata:
    get = headers.get
    return Metadata(
        event_id=unescaped(headers["ce-id"]),
        time=datetime.fromisoformat(headers["ce-time"]),
        request_id=unescaped(headers["ce-requestid"]),
        user_id=_optional(get("ce-userid")),
        project_id=_optional(get("ce-projectid")),
        global_request_id=_optional(get("ce-globalrequestid")),
        causation_id=_optional(get("ce-causationid")),
    )


def _version(headers: Mapping[str, str]) -> int:
    """0 for what says none."""
    text = headers.get("ce-aggregateversion", "")
    return int(text) if text.isdecimal() else 0


def _metadata_if_any(headers: Mapping[str, str]) -> Metadata:
    try:
        return _metadata(headers)
    except (KeyError, ValueError):
        return Metadata(event_id="", time=datetime.fromtimestamp(0, UTC), request_id="-")
