"""A log, or a part of it, in a file: JSON Lines, in frames that are compressed one by one.

The first line says what it is, the last one that it is complete; ``ops/docs/verification.md`` describes both for
those who read it with tools of their own. A file that breaks off can be gone on with behind its last whole frame.
"""

import gzip
import os
import zlib
from collections.abc import Callable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from domain.errors import Invalid, LightcurveError
from domain.log.checkpoint import Entry
from domain.log.recovery import Missing

FORMAT = "lightcurve-log/1"
FRAME = 4 * 1024 * 1024
"""Bytes of a frame before it is compressed, at least."""
_READ = 1024 * 1024
_GZIP_LEVEL, _ZSTD_LEVEL = 4, 3
SUFFIXES = (".zst", ".gz", ".jsonl")


class Torn(LightcurveError):
    """A file ends in the middle, or what it holds cannot be read."""

    code = "torn"


class Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which events of a log were wanted; all conditions hold together."""

    server: str | None = None
    project: str | None = None
    since: str | None = None
    until: str | None = None

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in msgspec.structs.asdict(self).items() if value)


class Head(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The first line."""

    format: str
    cell: str
    exported: str
    """When it was begun."""
    last: int
    """Up to which position the log goes, here."""
    missing: tuple[Missing, ...] = ()
    """Where nothing is; the recoveries among the events have to say so, too."""
    part: Part | None = None
    """None: it is the whole log."""
    checkpoint: str | None = None
    """Of a part: the signed note in whose tree its events are."""


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message. Headers and body are text wherever they are UTF-8."""

    position: int
    subject: str
    headers: str | None = None
    body: str | None = None
    headers64: bytes | None = None
    body64: bytes | None = None
    proof: tuple[bytes, ...] | None = None
    """Of a part: that the message is in the checkpoint's tree, RFC 6962, section 2.1.1."""

    @property
    def entry(self) -> Entry:
        """What it stands for."""
        headers, body = self.headers, self.body
        return Entry(
            self.position,
            self.subject,
            headers.encode() if headers is not None else self.headers64 or b"",
            body.encode() if body is not None else self.body64 or b"",
        )


class Tail(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the last line says."""

    events: int
    root: bytes | None = None
    """Of the whole log: the hash of the tree of all its positions."""


class _Last(msgspec.Struct, frozen=True, kw_only=True):
    end: Tail


_encode = msgspec.json.Encoder().encode
_head = msgspec.json.Decoder(Head)
decoded = msgspec.json.Decoder(Line).decode
_last = msgspec.json.Decoder(_Last)
_END = b'{"end":'


def line_of(entry: Entry, proof: tuple[bytes, ...] | None = None) -> bytes:
    """An entry as a line."""
    position, subject, headers, body = entry
    try:
        line = Line(position=position, subject=subject, headers=headers.decode(), body=body.decode(), proof=proof)
    except UnicodeDecodeError:
        line = Line(position=position, subject=subject, headers64=headers, body64=body, proof=proof)
    return _encode(line) + b"\n"


class _Codec(NamedTuple):
    compress: Callable[[bytes], bytes]
    decompressor: Callable[[], Any]
    """Of one frame, as those of ``zlib``: ``decompress``, ``eof``, ``unused_data``."""


class _Plain:
    """No compression: whole lines are a frame, as many as were read."""

    def __init__(self) -> None:
        self.eof = False
        self.unused_data = b""

    def decompress(self, data: bytes, /) -> bytes:
        before, separator, after = data.rpartition(b"\n")
        self.eof = bool(separator)
        self.unused_data = after if separator else b""
        return before + separator if separator else after


def _codec(file: Path) -> _Codec:
    if file.suffix == ".zst":
        import zstandard

        compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True)
        return _Codec(compressor.compress, zstandard.ZstdDecompressor().decompressobj)
    if file.suffix == ".gz":
        return _Codec(lambda data: gzip.compress(data, _GZIP_LEVEL, mtime=0), lambda: zlib.decompressobj(31))
    return _Codec(bytes, _Plain)


class LogFile:
    """Reads a file from its beginning. Raises Invalid for what is none."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._codec = _codec(file)
        self.read = 0
        """Bytes of the file that are behind us."""
        self.end: Tail | None = None
        """What the last line says, once it was read."""
        self._frames = self._whole_frames()
        self._rest = b""
        try:
            first = next(self._frames, b"")
        except (OSError, Torn) as error:
            raise Invalid(f"{file} cannot be read: {error}") from None
        begin, separator, self._rest = first.partition(b"\n")
        try:
            self.head = _head.decode(begin)
        except msgspec.MsgspecError as error:
            raise Invalid(f"{file} does not begin as an exported log does: {error}") from None
        if not separator or self.head.format != FORMAT:
            raise Invalid(f"{file} is of the format {self.head.format!r}; known is {FORMAT!r}.")

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._file.stat().st_size

    def batches(self) -> Iterator[list[Line]]:
        """What follows, up to the end line or to where the file breaks off. Raises Torn where it cannot be read."""
        while True:
            found: list[Line] = []
            rest, separator, self._rest = self._rest.rpartition(b"\n")
            for line in rest.split(b"\n") if separator else ():
                if self.end is not None:
                    raise Torn("something stands behind the line that says that it ends")
                try:
                    if line.startswith(_END):
                        self.end = _last.decode(line).end
                    else:
                        found.append(decoded(line))
                except (msgspec.MsgspecError, UnicodeError) as error:
                    yield found
                    raise Torn(f"a line cannot be read: {error}") from None
            if found:
                yield found
            frame = next(self._frames, None)
            if frame is None:
                if self._rest:
                    raise Torn("it breaks off in the middle of a line")
                return
            self._rest += frame

    def _whole_frames(self) -> Iterator[bytes]:
        with self._file.open("rb") as source:
            yield from self._decompressed(source)

    def _decompressed(self, source: BufferedReader) -> Iterator[bytes]:
        waiting = b""
        while True:
            frame: list[bytes] = []
            decompressor = self._codec.decompressor()
            while not decompressor.eof:
                data = waiting or source.read(_READ)
                waiting = b""
                if not data:
                    if frame:
                        raise Torn("it breaks off in the middle of a frame")
                    return
                try:
                    frame.append(decompressor.decompress(data))
                except Exception as error:  # noqa: BLE001 - each library has errors of its own for damaged data
                    raise Torn(f"a frame cannot be decompressed: {error}") from None
            waiting = decompressor.unused_data
            self.read = source.tell() - len(waiting)
            yield b"".join(frame)


class LogWriter:
    """Writes a file, frame by frame; ``go_on_at`` is a whole number of frames that stay."""

    def __init__(self, file: Path, go_on_at: int = 0) -> None:
        self._codec = _codec(file)
        self._output = os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600), "wb")
        self._output.truncate(go_on_at)
        self._output.seek(go_on_at)
        self._lines: list[bytes] = []
        self._waiting = 0

    def head(self, head: Head) -> None:
        """The first line, in a frame of its own."""
        self.line(_encode(head) + b"\n")
        self.flush()

    def line(self, line: bytes) -> None:
        """One more."""
        self._lines.append(line)
        self._waiting += len(line)
        if self._waiting >= FRAME:
            self.flush()

    def end(self, tail: Tail) -> None:
        """The last line."""
        self.line(_encode(_Last(end=tail)) + b"\n")
        self.flush()
        self.close()

    def flush(self) -> None:
        """What was written is in the file, as a frame."""
        self._output.write(self._codec.compress(b"".join(self._lines)))
        self._output.flush()
        self._lines, self._waiting = [], 0

    def close(self) -> None:
        """What is not flushed is lost."""
        self._output.close()
