"""What a disk, a power cut and a mistaken restore do to a log; each to a server that is stopped."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

CUT_BYTES = 64 * 1024

Damage = Callable[[Path, str], None]


def _newest_block(directory: Path, cell: str) -> Path:
    blocks = list(directory.rglob(f"CELL_{cell}/msgs/*.blk"))
    return max(blocks, key=lambda file: int(file.stem))


def flip_a_byte(directory: Path, cell: str) -> None:
    """In the middle of the newest block, inside the body of an event."""
    block = _newest_block(directory, cell)
    content = bytearray(block.read_bytes())
    content[len(content) // 2] ^= 0xFF
    block.write_bytes(content)


def cut_the_end(directory: Path, cell: str) -> None:
    """The server's index is newer than its block."""
    block = _newest_block(directory, cell)
    os.truncate(block, block.stat().st_size - CUT_BYTES)


def cut_the_end_without_an_index(directory: Path, cell: str) -> None:
    """As after a crash: the server believes its block."""
    block = _newest_block(directory, cell)
    (block.parent / "index.db").unlink()
    cut_the_end(directory, cell)


def put_back(copy: Path) -> Damage:
    """The directory as it was when ``copy`` was made of it."""

    def damage(directory: Path, _cell: str) -> None:
        shutil.rmtree(directory / "jetstream")
        shutil.copytree(copy / "jetstream", directory / "jetstream")

    return damage
