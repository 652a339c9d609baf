"""A stopped guest's disk on its way to another host: offered at the source, fetched at the target, over NBD.

What travels is the file as it is, without the image beneath it and without what is empty; the target puts its own
copy of that image beneath. It is sent inside TLS to the one who knows the offer's key (TLS-PSK), so it may
cross any network between hosts.
"""

import asyncio
import contextlib
import json
import re
import secrets
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from adapters.libvirt.commands import file_failures, run
from adapters.libvirt.disks import BaseImage
from adapters.libvirt.images import EXTERNAL_DATA_FILE, INFO_LIMITS, QCOW2_MAGIC
from domain.errors import HostFailed

OFFER = "The host could not offer the server's disk to the other host."
FETCH = "The server's disk could not be copied to the other host."
RESIZE = "The server's disk could not be resized."
NOT_SMALLER = "A disk cannot be made smaller."
PSK_USER = "lightcurve"
CALLERS = 8
"""At the same time."""
_PERCENT = re.compile(rb"\((\d+)\.\d+/100%\)")

# The socket comes as a service manager's does, sd_listen_fds(3), so that the kernel chooses a free port. In bash:
# other shells know descriptors of one digit only.
WITH_SOCKET = 'exec 3<&"$1"; shift; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"'


class DiskOffer(NamedTuple):
    """Where a disk can be fetched. Whoever has the key reads the disk: it is for the target alone, and for no log."""

    host: str
    port: int
    key: str


@asynccontextmanager
async def offered(disk: Path, address: str) -> AsyncIterator[DiskOffer]:
    """Offer the file for as long as the block lasts, at a port of ``address``, to read.

    No QEMU may have it open. Raises HostFailed.
    """
    if not await asyncio.to_thread(disk.is_file):
        raise HostFailed(OFFER, f"there is no {disk}")
    key = secrets.token_hex(32)
    with TemporaryDirectory(prefix="lightcurve-offer-") as secret, socket.socket() as listener:
        with file_failures(OFFER):
            (Path(secret) / "keys.psk").write_text(f"{PSK_USER}:{key}\n")
            listener.bind((address, 0))
            listener.listen()
        words = (
            # It ends with us, however we end.
            *("setpriv", "--pdeathsig", "KILL", "bash", "-c", WITH_SOCKET, "bash", str(listener.fileno())),
            # A caller that died without a word keeps its place: the next one must find another.
            *("qemu-nbd", "--read-only", "--persistent", "--shared", str(CALLERS)),
            *("--format", "raw", "--export-name", "disk"),
            *("--object", f"tls-creds-psk,id=tls,endpoint=server,dir={secret}", "--tls-creds", "tls", str(disk)),
        )
        process = await _start(OFFER, *words, pass_fds=(listener.fileno(),))
        port = listener.getsockname()[1]
        # Should it end, its callers must not wait for us.
        listener.close()
        try:
            yield DiskOffer(address, port, key)
            if process.returncode is not None:
                raise HostFailed(OFFER, await _words_of(process))
        finally:
            await _end(process)


async def fetch(offer: DiskOffer, disk: Path, base: BaseImage | None, told: Callable[[int], None]) -> None:
    """Have the offered disk here, over ``base`` if it has an image beneath it, as it says itself; whole or not at
    all.

    A disk that is there is left alone. ``told`` hears how many per cent have come. Raises HostFailed, also for a disk
    that would have QEMU open other files.
    """
    if await asyncio.to_thread(disk.exists):
        return
    fresh = disk.with_suffix(".coming")
    try:
        await _receive(offer, fresh, told)
        await _put_over(fresh, base)
        with file_failures(FETCH):
            fresh.chmod(0o600)
            fresh.replace(disk)
    finally:
        fresh.unlink(missing_ok=True)


async def virtual_size(disk: Path) -> int:
    """Bytes that the guest sees. Raises HostFailed."""
    look = ("qemu-img", "info", "--force-share", "-f", "qcow2", "--output=json", disk)
    return int(json.loads(await run(FETCH, "prlimit", *INFO_LIMITS, *look))["virtual-size"])


async def grow(disk: Path, size: int) -> None:
    """Have a stopped guest's disk of ``size`` bytes; harmless if it is. Raises HostFailed if it is larger."""
    now = await virtual_size(disk)
    if now > size:
        raise HostFailed(NOT_SMALLER, f"{now} bytes to {size}")
    if now < size:
        await run(RESIZE, "qemu-img", "resize", "-q", "-f", "qcow2", disk, str(size))


async def _receive(offer: DiskOffer, fresh: Path, told: Callable[[int], None]) -> None:
    with TemporaryDirectory(prefix="lightcurve-fetch-") as secret:
        with file_failures(FETCH):
            (Path(secret) / "keys.psk").write_text(f"{PSK_USER}:{offer.key}\n")
        source = f"driver=nbd,host={offer.host},port={offer.port},export=disk,tls-creds=tls"
        words = (
            *("qemu-img", "convert", "-p", "-O", "raw", "--image-opts", source),
            *("--object", f"tls-creds-psk,id=tls,endpoint=client,dir={secret},username={PSK_USER}", str(fresh)),
        )
        process = await _start(FETCH, *words)
        try:
            assert process.stdout is not None
            while said := await process.stdout.read(4096):
                for percent in _PERCENT.findall(said)[-1:]:
                    told(int(percent))
            if await process.wait() != 0:
                raise HostFailed(FETCH, await _words_of(process))
        finally:
            await _end(process)


async def _put_over(fresh: Path, base: BaseImage | None) -> None:
    """Another host has written this: QEMU gets to see it only once nothing in it names a file of this host."""
    alone = await asyncio.to_thread(stands_alone, fresh)
    beneath = ("-F", base.disk_format, "-b", str(base.path)) if base and not alone else ("-b", "")
    await run(FETCH, "prlimit", *INFO_LIMITS, "qemu-img", "rebase", "-u", "-f", "qcow2", *beneath, fresh)


def stands_alone(fresh: Path) -> bool:
    """Whether no image is beneath. Raises HostFailed for what QEMU must not see.

    Format: https://www.qemu.org/docs/master/interop/qcow2.html.
    """
    with file_failures(FETCH), fresh.open("rb") as file:
        header = file.read(80)
    if len(header) < 80 or header[:4] != QCOW2_MAGIC or struct.unpack_from(">I", header, 4)[0] < 3:
        raise HostFailed(FETCH, "what came is no qcow2 file")
    if struct.unpack_from(">Q", header, 72)[0] & EXTERNAL_DATA_FILE:
        raise HostFailed(FETCH, "what came has its data in another file")
    return bool(struct.unpack_from(">Q", header, 8)[0] == 0)


async def _start(message: str, *words: str, pass_fds: tuple[int, ...] = ()) -> asyncio.subprocess.Process:
    pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    try:
        return await asyncio.create_subprocess_exec(
            *words, stdin=nothing, stdout=pipe, stderr=pipe, pass_fds=pass_fds
        )
    except OSError as error:
        raise HostFailed(message, f"{words[0]}: {error.strerror}") from error


async def _words_of(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    said = (await process.stderr.read()).decode(errors="replace").strip()
    return said or str(process.returncode)


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.communicate()
