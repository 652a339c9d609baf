"""Keys outside the log, in a bucket of their own."""

import os
from typing import Any

from adapters.nats.connection import ApiError, Connection, NoAnswer, header_block
from adapters.nats.names import Names
from adapters.sealing import Key
from domain.errors import Unavailable

_WRONG_LAST_SEQUENCE = 10071
_NO_MESSAGE = 10037


class NatsVault:
    """The keys of one cell; promises what ``handlers.ports.Vault`` and ``Keyring`` do.

    Keys are read anew each time and kept nowhere else, so that a destroyed key is gone for every process at once.
    Destroying overwrites the key on the server's disk.
    """

    def __init__(self, connection: Connection, cell: str) -> None:
        self._connection = connection
        self._names = Names(cell)

    async def seal(self, owner: str, plaintext: bytes) -> str:
        return (await self.make_key(owner)).seal(owner, plaintext)

    async def unseal(self, owner: str, sealed: str) -> bytes | None:
        key = await self.key(owner)
        return None if key is None else key.unseal(owner, sealed)

    async def destroy(self, owner: str) -> None:
        subject = self._names.key(owner)
        while True:
            found = await self._api("STREAM.MSG.GET", {"last_by_subj": subject})
            if found is None:
                return
            # Without no_erase the server overwrites the message's bytes before it forgets them.
            await self._api("STREAM.MSG.DELETE", {"seq": found["message"]["seq"], "no_erase": False})

    async def owners(self) -> list[str]:
        found: list[str] = []
        while True:
            # The server names no more than 100,000 subjects at a time.
            info = await self._api("STREAM.INFO", {"subjects_filter": ">", "offset": len(found)}) or {}
            subjects = info.get("state", {}).get("subjects", {})
            found += (self._names.key_owner(subject) for subject in subjects)
            if not subjects or len(found) >= info.get("total", 0):
                return found

    async def make_key(self, owner: str) -> Key:
        key = await self.key(owner)
        while key is None:
            await self._make(owner)
            key = await self.key(owner)
        return key

    async def key(self, owner: str) -> Key | None:
        try:
            answer = await self._connection.call(f"$JS.API.DIRECT.GET.{self._names.keys}.{self._names.key(owner)}")
        except NoAnswer as problem:
            raise Unavailable(f"The vault does not answer: {problem}") from None
        if answer.status == 404:
            return None
        if answer.status:
            raise Unavailable(f"The vault does not answer: {answer.status} {answer.description}")
        return Key(answer.data)

    async def _make(self, owner: str) -> None:
        guard = header_block({"Nats-Expected-Last-Subject-Sequence": "0"})
        try:
            # Refused if somebody else was quicker; then theirs is the key.
            await self._connection.call(self._names.key(owner), os.urandom(Key.SIZE), guard)
        except NoAnswer as problem:
            raise Unavailable(f"The vault does not answer: {problem}") from None

    async def _api(self, name: str, request: dict[str, object]) -> dict[str, Any] | None:
        try:
            return await self._connection.api(f"{name}.{self._names.keys}", request)
        except ApiError as error:
            if error.err_code == _NO_MESSAGE or error.code == 404:
                return None
            raise Unavailable(f"The vault does not answer: {error}") from error
        except NoAnswer as problem:
            raise Unavailable(f"The vault does not answer: {problem}") from None
