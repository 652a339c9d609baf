"""Texts of events that are sealed in the log: sealed on the way into it, opened on the way out."""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Collection
from typing import Protocol

from msgspec.structs import replace

from adapters.sealing import Key
from domain.catalogue import keypair
from domain.errors import Invalid, Unavailable
from domain.log.record import AggregateId, Event, Recorded
from domain.neighbours.volume import state as storage
from domain.personal import WORDS, Owner, place_of, rewritten, texts
from handlers.together import together

MARK = "sealed:"
"""What a sealed text begins with; what a key has made of it follows."""
PLAIN = f"{MARK}plain."
"""What a text that only looks like a sealed one is kept behind."""
ERASED = "erased:"
"""What is told in place of a text that nobody can read any more begins with it."""
RETRY_SECONDS = 0.5
_IN_JSON = f'"{MARK}'.encode()

log = logging.getLogger(__name__)


class Keyring(Protocol):
    """The keys of a cell."""

    async def key(self, owner: str) -> Key | None:
        """The owner's key; None if there is none, or none any more. Raises Unavailable."""
        ...

    async def make_key(self, owner: str) -> Key:
        """The owner's key, made at the first use. Raises Unavailable."""
        ...


class SealedTexts:
    """Seals the texts that the operator named by ``words``, and opens whatever was sealed."""

    def __init__(self, keyring_of: Callable[[str], Keyring], words: Collection[str] = ()) -> None:
        """``keyring_of`` finds the keys of a cell by its name."""
        self._keyring_of = keyring_of
        self._words = words

    async def sealed(self, cell: str, aggregate: AggregateId, event: Event) -> Event:
        """The event as the log shall have it. What belongs to a server is sealed if there is a key that will be
        destroyed with the server: one that was requested before anything was to be sealed may have none. Raises
        Unavailable."""
        place = Owner(cell, aggregate.id)
        keys: dict[Owner, Key | None] = {}
        if self._words:
            owners = _owners(event, place, self._words)
            makes = aggregate.kind in (keypair.KIND.name, storage.KIND.name)
            found = await together(*(self._key(owner, makes=makes) for owner in owners))
            keys = dict(zip(owners, found, strict=True))

        def protect(_owner: Owner, text: str) -> str:
            return PLAIN + text if text.startswith(MARK) else text

        def seal(owner: Owner, text: str) -> str:
            key = keys[owner]
            return MARK + key.seal_text(owner.id, text) if key else protect(owner, text)

        others = [word for word in WORDS if word not in self._words]
        return rewritten(rewritten(event, place, others, protect), place, self._words, seal)

    async def opened(self, records: list[Recorded], *, erases: bool = False) -> list[Recorded]:
        """The events with plain texts, and with ERASED ones where the key is gone; ``erases``: as if all were gone.
        Raises Unavailable."""
        wanted = {owner for each in records for owner, text in texts(each) if _is_sealed(text)}
        owners = [] if erases else list(wanted)
        keys = dict(zip(owners, await together(*(self._key(owner) for owner in owners)), strict=True))

        def open_(owner: Owner, text: str) -> str:
            return _opened(keys.get(owner), owner, text)

        return [
            replace(each, event=rewritten(each.event, place_of(each), WORDS, open_)) if texts(each) else each
            for each in records
        ]

    async def opened_patiently(self, records: list[Recorded]) -> list[Recorded]:
        """As ``opened``; keys that cannot be asked for now are waited for."""
        while True:
            try:
                return await self.opened(records)
            except Unavailable as error:
                log.info("what is sealed in the log cannot be opened yet: %s", error)
                await asyncio.sleep(RETRY_SECONDS)

    async def seal_bytes(self, cell: str, aggregate: AggregateId, plain: bytes) -> bytes:
        """A state with texts that are sealed in the log, sealed as a whole if its owner has a key."""
        key = await self._key(Owner(cell, aggregate.id)) if self._words else None
        return plain if key is None else (MARK + key.seal(aggregate.id, plain)).encode()

    async def open_bytes(self, cell: str, aggregate: AggregateId, kept: bytes) -> bytes | None:
        """The inverse; None if the key is gone."""
        if not kept.startswith(MARK.encode()):
            return kept
        key = await self._key(Owner(cell, aggregate.id))
        try:
            return key.unseal(aggregate.id, kept.decode().removeprefix(MARK)) if key else None
        except (Invalid, UnicodeDecodeError):
            return None

    async def _key(self, owner: Owner, *, makes: bool = False) -> Key | None:
        keyring = self._keyring_of(owner.cell)
        return await keyring.make_key(owner.id) if makes else await keyring.key(owner.id)


def may_hold_sealed(body: bytes) -> bool:
    """Whether a message has anything to be opened, at the price of a look."""
    return _IN_JSON in body


def _owners(event: Event, place: Owner, words: Collection[str]) -> list[Owner]:
    found: dict[Owner, None] = {}

    def note(owner: Owner, text: str) -> str:
        found[owner] = None
        return text

    rewritten(event, place, words, note)
    return list(found)


def _is_sealed(text: str) -> bool:
    return text.startswith(MARK) and not text.startswith(PLAIN)


def _opened(key: Key | None, owner: Owner, text: str) -> str:
    if text.startswith(PLAIN):
        return text.removeprefix(PLAIN)
    if not text.startswith(MARK):
        return text
    try:
        found = key.unseal(owner.id, text.removeprefix(MARK)) if key else None
    except Invalid:
        return text  # nobody sealed it like that: it is shown as what it is
    return erased(text) if found is None else found.decode()


def erased(token: str) -> str:
    """What is told instead. Equal texts of one owner are still equal, so that a history folds as it did."""
    return ERASED + hashlib.sha256(token.encode()).hexdigest()[:8]
