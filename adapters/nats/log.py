"""A cell's stream as it is: guarded appends, pages, the end. What the messages mean is the caller's affair."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import msgspec

from adapters.mapper import Envelope
from adapters.nats.breaker import RETRY_AFTER, Breaker
from adapters.nats.connection import ApiError, Connection, Message, NoAnswer, header_block
from adapters.nats.names import Names
from domain.errors import Invalid, Stale, Unavailable
from domain.log.record import Tail

_log = logging.getLogger(__name__)

ANSWER_TIMEOUT = 2.0
"""Seconds until an unanswered publish counts as lost, and the tail of the subject is looked at."""
PAGE = 1000
"""Messages asked for at once."""
MAX_TOGETHER = 1000
"""Messages that the server stores atomically at most."""
_RETRY = 0.05
_LAST_LOOK = 0.5
"""Seconds for finding out what became of an append, when its time is over."""
_WRONG_LAST_SEQUENCE = frozenset({10071, 10164})
_NO_MESSAGE = 10037


class Addition(NamedTuple):
    """One message to be appended to ``subject``, if that still ends at ``tail``."""

    subject: str
    envelope: Envelope
    tail: Tail


class _Unanswered(Unavailable):
    retry_after = RETRY_AFTER


class _Ack(msgspec.Struct):
    seq: int = 0
    duplicate: bool = False
    error: dict[str, Any] | None = None


_decode_ack = msgspec.json.Decoder(_Ack).decode


class Log:
    """The event stream of one cell."""

    def __init__(self, connection: Connection, names: Names) -> None:
        self._connection = connection
        self._names = names
        self._breaker = Breaker()
        connection.on_reconnect(self._breaker.answered)

    async def append(self, addition: Addition) -> int:
        """Append one message and return its position. Raises Stale, Unavailable; Invalid for a used event id.

        Where the answer is lost, it is found out what happened, within PATIENCE_SECONDS.
        """
        envelope = addition.envelope
        headers = header_block(
            envelope.headers
            | {
                "Nats-Msg-Id": envelope.headers["ce-id"],
                "Nats-Expected-Last-Subject-Sequence": str(addition.tail.position),
            }
        )

        async def publish() -> Message:
            return await self._connection.call(addition.subject, envelope.body, headers, ANSWER_TIMEOUT)

        position, found = await self._settle(publish, addition)
        return found if found is not None else position

    async def append_together(self, additions: list[Addition]) -> list[int]:
        """Append several messages, all or none, and return their positions, which follow each other.

        Of each subject only the first message is guarded by its tail. Costs some 30 ms, and is meant for rare
        operations. Raises Stale, Unavailable, and ValueError for more than MAX_TOGETHER.
        """
        if not 1 <= len(additions) <= MAX_TOGETHER:
            raise ValueError(f"{len(additions)} messages cannot be stored together")

        async def publish() -> Message:
            batch = self._connection.new_inbox().rsplit(".", 1)[1]
            guarded: set[str] = set()
            for number, (subject, envelope, tail) in enumerate(additions, 1):
                headers = envelope.headers | {"Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(number)}
                if subject not in guarded:
                    guarded.add(subject)
                    headers["Nats-Expected-Last-Subject-Sequence"] = str(tail.position)
                if number < len(additions):
                    self._connection.send(subject, envelope.body, header_block(headers))
            headers["Nats-Batch-Commit"] = "1"
            return await self._connection.call(subject, envelope.body, header_block(headers), ANSWER_TIMEOUT)

        last, first = await self._settle(publish, additions[0])
        if first is None:
            first = last - len(additions) + 1
        return list(range(first, first + len(additions)))

    async def _settle(self, publish: Callable[[], Awaitable[Message]], addition: Addition) -> tuple[int, int | None]:
        """Publish until it is certain what became of it.

        Returns the position acknowledged and None; or, where that had to be looked up, the position found twice.
        """
        deadline = asyncio.get_running_loop().time() + self._breaker.admit()
        try:
            return await self._until_certain(publish, addition, deadline)
        except _Unanswered:
            self._breaker.unanswered()
            raise

    async def _until_certain(
        self, publish: Callable[[], Awaitable[Message]], addition: Addition, deadline: float
    ) -> tuple[int, int | None]:
        clock = asyncio.get_running_loop().time
        subject, envelope, tail = addition
        while True:
            try:
                ack = _decode_ack((await publish()).data)
                self._breaker.answered()
                if ack.error is None and not ack.duplicate:
                    return ack.seq, None
                if ack.error is not None and ack.error.get("err_code") not in _WRONG_LAST_SEQUENCE:
                    raise Unavailable(f"The log refuses an event: {ack.error.get('description')}")
                unanswered, duplicate = False, ack.duplicate
            except NoAnswer as problem:
                _log.info("append to %s: %s", subject, problem)
                unanswered, duplicate = True, False
            # Whatever happened, the one message that follows the tail on the subject tells the truth: it is
            # ours, or somebody else's, or there is none.
            successor = await self._successor(subject, tail, deadline)
            if successor is not None:
                if successor[1].get("ce-id") == envelope.headers["ce-id"]:
                    return successor[0], successor[0]
                raise Stale(f"Somebody else changed {subject} after position {tail.position}.")
            if duplicate:
                raise Invalid(f"The event id {envelope.headers['ce-id']} was used before, elsewhere.")
            if not unanswered:
                # Refused though nothing follows the tail: the tail is not where the subject ends.
                raise Stale(f"{subject} does not end at position {tail.position}.")
            if clock() + _RETRY > deadline:
                raise _Unanswered("The log does not answer.")
            await asyncio.sleep(_RETRY)

    async def _successor(self, subject: str, tail: Tail, deadline: float) -> tuple[int, dict[str, str]] | None:
        """The first message behind ``tail`` on a subject, as the stream's leader sees it."""
        clock = asyncio.get_running_loop().time
        request = {"seq": tail.position + 1, "next_by_subj": subject}
        while True:
            patience = min(max(deadline - clock(), _LAST_LOOK), ANSWER_TIMEOUT)
            try:
                answer = await self._connection.api(f"STREAM.MSG.GET.{self._names.events}", request, patience)
            except NoAnswer:
                if clock() + _RETRY > deadline:
                    raise _Unanswered("The log does not answer.") from None
                await asyncio.sleep(_RETRY)
            except ApiError as error:
                if error.err_code == _NO_MESSAGE:
                    return None
                raise Unavailable(f"The log does not answer: {error}") from error
            else:
                found = answer["message"]
                raw = msgspec.convert(found.get("hdrs", ""), bytes, strict=False)
                return found["seq"], Message(subject, "", b"", raw or None).headers()

    async def page(self, subject: str, start: int, limit: int = PAGE) -> tuple[list[Message], bool]:
        """Up to ``limit`` messages on ``subject`` (or a pattern) from position ``start`` on, and whether there are
        more. Their positions are in the header ``Nats-Sequence``. Raises Unavailable."""
        payload = msgspec.json.encode({"seq": start, "batch": min(limit, PAGE), "next_by_subj": subject})
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._breaker.patience
        while True:
            try:
                found = await self._connection.fetch(
                    f"$JS.API.DIRECT.GET.{self._names.events}", payload, deadline - clock()
                )
                end = found.pop()
                return found, end.status == 204 and int(end.headers().get("Nats-Num-Pending", "0")) > 0
            except ApiError as error:
                raise Unavailable(f"The log does not answer: {error}") from error
            except NoAnswer as problem:
                if clock() + _RETRY > deadline:
                    raise Unavailable(f"The log does not answer: {problem}") from None
                await asyncio.sleep(_RETRY)

    async def at(self, position: int) -> Message | None:
        """The message at a position; None if there is none (any more). Raises Unavailable."""
        request = msgspec.json.encode({"seq": position})
        return await self._one(f"$JS.API.DIRECT.GET.{self._names.events}", request)

    async def leader_has(self, position: int) -> bool:
        """Whether the stream's leader has the message at a position; a replica may lag. Raises Unavailable."""
        try:
            await self._connection.api(f"STREAM.MSG.GET.{self._names.events}", {"seq": position})
        except ApiError as error:
            if error.err_code == _NO_MESSAGE:
                return False
            raise Unavailable(f"The log does not answer: {error}") from None
        except NoAnswer as problem:
            raise Unavailable(f"The log does not answer: {problem}") from None
        return True

    async def last(self, subject: str) -> Message | None:
        """The last message on a subject. Raises Unavailable."""
        return await self._one(f"$JS.API.DIRECT.GET.{self._names.events}.{subject}")

    async def _one(self, api: str, request: bytes = b"") -> Message | None:
        try:
            found = await self._connection.call(api, request)
        except NoAnswer as problem:
            raise Unavailable(f"The log does not answer: {problem}") from None
        if found.status == 404:
            return None
        if found.status:
            raise Unavailable(f"The log does not answer: {found.status} {found.description}")
        return found

    async def last_position(self) -> int:
        """The position of the newest message; 0 for an empty stream. Raises Unavailable."""
        try:
            info = await self._connection.api(f"STREAM.INFO.{self._names.events}")
        except (NoAnswer, ApiError) as error:
            raise Unavailable(f"The log does not answer: {error}") from None
        return int(info["state"]["last_seq"])
