"""Keys in memory."""

import hashlib

from adapters.memory.broker import Broker, Faults, NoFaults
from adapters.sealing import Key


class MemoryVault:
    """The keys of one cell; promises what ``handlers.ports.Vault`` and ``Keyring`` do. Its keys are no secret."""

    def __init__(self, broker: Broker, cell: str, faults: Faults | None = None) -> None:
        self._broker = broker
        self._keys = broker.cell(cell).keys
        self._faults: Faults = faults or NoFaults()

    async def seal(self, owner: str, plaintext: bytes) -> str:
        await self._faults.before("seal")
        key = await self.make_key(owner)
        return key.seal(owner, plaintext, nonce=self._broker.number().to_bytes(12))

    async def unseal(self, owner: str, sealed: str) -> bytes | None:
        await self._faults.before("unseal")
        key = await self.key(owner)
        return None if key is None else key.unseal(owner, sealed)

    async def make_key(self, owner: str) -> Key:
        if owner not in self._keys:
            self._keys[owner] = hashlib.sha256(f"{owner} {self._broker.number()}".encode()).digest()
        return Key(self._keys[owner])

    async def key(self, owner: str) -> Key | None:
        secret = self._keys.get(owner)
        return None if secret is None else Key(secret)

    async def destroy(self, owner: str) -> None:
        await self._faults.before("destroy")
        self._keys.pop(owner, None)
        await self._faults.after("destroy")

    async def owners(self) -> list[str]:
        await self._faults.before("owners")
        return list(self._keys)
