"""Arrays as PostgreSQL takes them over the wire: a column of a batch's rows is one parameter.

psycopg has them, too, and takes several times as long, value by value.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from struct import Struct

from psycopg import AsyncConnection
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format

_BIGINT, _BYTEA, _TEXT, _TIMESTAMPTZ = 20, 17, 25, 1184
_ARRAY_OF = {_BIGINT: 1016, _BYTEA: 1001, _TEXT: 1009, _TIMESTAMPTZ: 1185}
"""The object identifiers of types, which PostgreSQL never changes."""
_head = Struct(">iiIii").pack
_length = Struct(">i").pack
_number = Struct(">iq").pack
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class _Packed(bytes):
    """An array, ready to be sent."""


class _Bigints(_Packed):
    oid = _ARRAY_OF[_BIGINT]


class _Byteas(_Packed):
    oid = _ARRAY_OF[_BYTEA]


class _Texts(_Packed):
    oid = _ARRAY_OF[_TEXT]


class _Times(_Packed):
    oid = _ARRAY_OF[_TIMESTAMPTZ]


class _Dumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: Buffer) -> Buffer:
        return obj


def register(connection: AsyncConnection[object]) -> None:
    """Let the connection send what is made here."""
    for kind in (_Bigints, _Byteas, _Texts, _Times):
        dumper = type(f"{kind.__name__}Dumper", (_Dumper,), {"oid": kind.oid})
        connection.adapters.register_dumper(kind, dumper)


def bigints(values: list[int]) -> bytes:
    return _Bigints(_numbers(_BIGINT, values))


def times(values: list[datetime]) -> bytes:
    return _Times(_numbers(_TIMESTAMPTZ, [(value - _EPOCH) // _MICROSECOND for value in values]))


def texts(values: list[str]) -> bytes:
    return _Texts(_strings(_TEXT, [value.encode() for value in values]))


def byteas(values: list[bytes]) -> bytes:
    return _Byteas(_strings(_BYTEA, values))


def _numbers(oid: int, values: list[int]) -> bytes:
    return _begin(oid, len(values)) + b"".join(_number(8, value) for value in values)


def _strings(oid: int, values: Iterable[bytes]) -> bytes:
    parts = [b""]
    for value in values:
        parts.append(_length(len(value)))
        parts.append(value)
    parts[0] = _begin(oid, len(parts) // 2)
    return b"".join(parts)


def _begin(oid: int, count: int) -> bytes:
    return _head(1, 0, oid, count, 1) if count else _head(0, 0, oid, 0, 0)[:12]
