"""Snapshots of aggregates in a bucket: a manifest, and chunks where the body is too large for one message."""

import asyncio
import hashlib
import zlib

import msgspec

from adapters.nats.connection import ApiError, Connection, Message, NoAnswer, header_block
from adapters.nats.names import Names
from domain.errors import Unavailable
from domain.log.record import AggregateId, Tail
from handlers.ports import Snapshot

CHUNK = 1024 * 1024
"""Bytes of a message at most; a compressed body up to this size is kept in one."""
_ATTEMPTS = 5
_WRONG_LAST_SEQUENCE = 10071


class _Manifest(msgspec.Struct):
    version: int
    position: int
    digest: str
    checksum: str
    """SHA-256, in hex, of the compressed body."""
    chunks: int
    body: bytes = b""
    """The compressed body itself, if there are no chunks."""


class Snapshots:
    """The snapshots of one cell."""

    def __init__(self, connection: Connection, names: Names) -> None:
        self._connection = connection
        self._names = names

    async def save(self, aggregate: AggregateId, snapshot: Snapshot) -> None:
        """Keep a snapshot unless one of a newer tail is kept. Raises Unavailable."""
        subject = self._names.snapshot(aggregate)
        # Compressing megabytes must not hold up the loop.
        body = await asyncio.to_thread(zlib.compress, snapshot.body, 1)
        for _ in range(_ATTEMPTS):
            sequence, before = await self._manifest(subject)
            if before is not None and before.version >= snapshot.tail.version:
                return
            manifest = await self._with_body(subject, snapshot.tail, body)
            if await self._put(subject, msgspec.msgpack.encode(manifest), expected=sequence):
                if before is not None and before.chunks:
                    await self._purge(f"{subject}.{before.position}.*")
                return
        raise Unavailable(f"The snapshot of {aggregate} is changed by too many at once.")

    async def load(self, aggregate: AggregateId) -> Snapshot | None:
        """The newest snapshot; None if there is none, or what there is is damaged. Raises Unavailable."""
        subject = self._names.snapshot(aggregate)
        for _ in range(_ATTEMPTS):
            _, manifest = await self._manifest(subject)
            if manifest is None:
                return None
            body = manifest.body
            if manifest.chunks:
                body = await self._chunks(subject, manifest)
            if hashlib.sha256(body).hexdigest() == manifest.checksum:
                tail = Tail(manifest.version, manifest.position, manifest.digest)
                try:
                    return Snapshot(tail, await asyncio.to_thread(zlib.decompress, body))
                except zlib.error:
                    return None
            # A newer snapshot may be taking this one's place: look again.
        return None

    async def drop(self, aggregate: AggregateId) -> None:
        """Forget an aggregate's snapshot. Raises Unavailable."""
        subject = self._names.snapshot(aggregate)
        await self._purge(subject)
        await self._purge(f"{subject}.>")

    async def drop_all(self) -> None:
        """Forget all snapshots of the cell. Raises Unavailable."""
        await self._purge(">")

    async def _with_body(self, subject: str, tail: Tail, body: bytes) -> _Manifest:
        checksum = hashlib.sha256(body).hexdigest()
        if len(body) <= CHUNK // 2:
            return _Manifest(tail.version, tail.position, tail.digest, checksum, 0, body)
        chunks = [body[start : start + CHUNK] for start in range(0, len(body), CHUNK)]
        for index, chunk in enumerate(chunks):
            await self._put(f"{subject}.{tail.position}.{index:06}", chunk)
        return _Manifest(tail.version, tail.position, tail.digest, checksum, len(chunks))

    async def _manifest(self, subject: str) -> tuple[int, _Manifest | None]:
        try:
            answer = await self._connection.call(f"$JS.API.DIRECT.GET.{self._names.snapshots}.{subject}")
        except NoAnswer as problem:
            raise Unavailable(f"Snapshots do not answer: {problem}") from None
        if answer.status == 404:
            return 0, None
        if answer.status:
            raise Unavailable(f"Snapshots do not answer: {answer.status} {answer.description}")
        sequence = int(answer.headers()["Nats-Sequence"])
        try:
            return sequence, msgspec.msgpack.decode(answer.data, type=_Manifest)
        except msgspec.DecodeError:
            return sequence, None  # of another version, or damaged: as good as none

    async def _chunks(self, subject: str, manifest: _Manifest) -> bytes:
        request = {"multi_last": [f"{subject}.{manifest.position}.*"], "batch": manifest.chunks}
        try:
            found = await self._connection.fetch(
                f"$JS.API.DIRECT.GET.{self._names.snapshots}", msgspec.json.encode(request), 30.0
            )
        except (NoAnswer, ApiError) as problem:
            raise Unavailable(f"Snapshots do not answer: {problem}") from None
        found.pop()

        def place(message: Message) -> str:
            return message.headers()["Nats-Subject"]

        return b"".join(message.data for message in sorted(found, key=place))

    async def _put(self, subject: str, payload: bytes, expected: int | None = None) -> bool:
        """Store it; False if ``expected`` is not the subject's last sequence any more."""
        guard = {} if expected is None else {"Nats-Expected-Last-Subject-Sequence": str(expected)}
        try:
            answer = await self._connection.call(subject, payload, header_block(guard) if guard else b"")
        except NoAnswer as problem:
            raise Unavailable(f"Snapshots do not answer: {problem}") from None
        error = msgspec.json.decode(answer.data).get("error")
        if error is None:
            return True
        if error.get("err_code") == _WRONG_LAST_SEQUENCE:
            return False
        raise Unavailable(f"A snapshot was refused: {error.get('description')}")

    async def _purge(self, subjects: str) -> None:
        try:
            await self._connection.api(f"STREAM.PURGE.{self._names.snapshots}", {"filter": subjects})
        except (NoAnswer, ApiError) as problem:
            raise Unavailable(f"Snapshots do not answer: {problem}") from None
