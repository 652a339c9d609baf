"""Passwords: kept as scrypt hashes (RFC 7914), compared in constant time."""

import asyncio
import base64
import binascii
import hashlib
import hmac
import os
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

COST, BLOCK_SIZE, PARALLEL = 1 << 14, 8, 1
"""scrypt's N, r and p: 16 MiB and some 50 ms a try."""

_SCHEME = "scrypt"
AT_ONCE = 1
"""Checks of a process; more would take the processors from everybody else."""
NICE = 10
"""Anybody may have a password checked: it is done with what processors have left beside the answers to all others."""


def _go_last() -> None:
    with suppress(OSError):
        # Linux counts threads as it does processes.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


_THREADS = ThreadPoolExecutor(AT_ONCE, "passwords", _go_last)


def hash_password(password: str) -> str:
    """``scrypt$N$r$p$salt$hash``, with a new salt."""
    salt = secrets.token_bytes(16)
    digest = _scrypt(password, salt, COST, BLOCK_SIZE, PARALLEL)
    encoded = (base64.b64encode(part).decode() for part in (salt, digest))
    return "$".join((_SCHEME, str(COST), str(BLOCK_SIZE), str(PARALLEL), *encoded))


async def hashed_beside(password: str) -> str:
    """``hash_password``, beside everything else."""
    return await asyncio.get_running_loop().run_in_executor(_THREADS, hash_password, password)


async def check_password(password: str, stored: str) -> bool:
    """``verify_password``, beside everything else."""
    return await asyncio.get_running_loop().run_in_executor(_THREADS, verify_password, password, stored)


def verify_password(password: str, stored: str) -> bool:
    """Whether this is the password; False, too, if the stored hash is not one of ours. Takes CPU on purpose:
    call it in a thread."""
    try:
        scheme, cost, block_size, parallel, salt, digest = stored.split("$")
        if scheme != _SCHEME:
            return False
        candidate = _scrypt(
            password, base64.b64decode(salt, validate=True), int(cost), int(block_size), int(parallel)
        )
        return hmac.compare_digest(candidate, base64.b64decode(digest, validate=True))
    except (ValueError, binascii.Error):
        return False


def _scrypt(password: str, salt: bytes, cost: int, block_size: int, parallel: int) -> bytes:
    memory = 256 * cost * block_size
    return hashlib.scrypt(password.encode(), salt=salt, n=cost, r=block_size, p=parallel, maxmem=memory, dklen=32)
