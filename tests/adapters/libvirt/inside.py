"""A paper host, seen from the test."""

import asyncio
import json
import os
import sys
from pathlib import Path

from tests.adapters.libvirt import paper_host
from tests.own_hosts import OwnHost

ROOT = Path(__file__).parents[3]


class Inside:
    """A host with one guest on paper (``paper_host``), that does what it is told line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def of(cls, own: OwnHost, network: str, address: int) -> "Inside":
        words = (
            sys.executable,
            "-m",
            paper_host.__name__,
            network,
            str(address),
            str(own.host.directory / "compute"),
        )
        process = await asyncio.create_subprocess_exec(
            *own.host.enter(*words), stdin=-1, stdout=-1, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        assert process.stdout is not None
        assert await process.stdout.readline() == b"there\n"
        return cls(process)

    async def ask(self, *words: str) -> object:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(" ".join(words).encode() + b"\n")
        return json.loads(await self._process.stdout.readline())

    async def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert await self._process.wait() == 0
