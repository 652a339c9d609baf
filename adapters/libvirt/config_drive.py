"""The config drive: a guest's metadata on a small disk. Its content is fetched from the metadata service when the
drive is made, so that user data never stands in a command."""

import asyncio
import base64
import binascii
import json
import shutil
import tempfile
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any, Literal

from adapters.libvirt.commands import file_failures, run
from adapters.libvirt.metadata_proxy import MetadataUpstream
from adapters.metadata import signing
from domain.errors import HostFailed, Unavailable

LABEL = "config-2"
"""Where guests look for it: https://docs.openstack.org/nova/latest/user/metadata.html."""
DriveFormat = Literal["iso9660", "vfat"]
VFAT_KIB = 64 * 1024
"""Nova's size."""
TIMEOUT = 30.0
MAX_ANSWER = 64 * 1024 * 1024
FAILURE = "The host could not make the config drive."


async def ensure_config_drive(path: Path, server_id: str, upstream: MetadataUpstream, form: DriveFormat) -> None:
    """Make the drive, whole or not at all; one that is there is left alone.

    Raises HostFailed, or Unavailable while the metadata service does not answer.
    """
    if await asyncio.to_thread(path.exists):
        return
    files = await asyncio.to_thread(_fetch, server_id, upstream)
    with file_failures(FAILURE):
        directory = Path(await asyncio.to_thread(tempfile.mkdtemp, dir=path.parent, prefix=".config-"))
        fresh = path.with_suffix(".new")
        try:
            await asyncio.to_thread(_write, directory, files)
            await (_iso9660 if form == "iso9660" else _vfat)(fresh, directory)
            fresh.chmod(0o600)
            fresh.replace(path)
        finally:
            await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
            fresh.unlink(missing_ok=True)


async def _iso9660(target: Path, directory: Path) -> None:
    # Joliet and Rock Ridge: the names are longer than ISO 9660 alone allows.
    say = ("-quiet", "-J", "-r", "-allow-lowercase", "-V", LABEL, "-publisher", "Lightcurve")
    await run(FAILURE, "genisoimage", *say, "-o", target, directory)


async def _vfat(target: Path, directory: Path) -> None:
    with target.open("wb") as file:
        file.truncate(VFAT_KIB * 1024)
    await run(FAILURE, "mformat", "-i", target, "-v", LABEL, "::")
    # Everything that is written there is below this one directory.
    await run(FAILURE, "mcopy", "-s", "-i", target, directory / "openstack", "::/")


def _write(directory: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        place = (directory / name).resolve()
        if not place.is_relative_to(directory.resolve()):
            raise HostFailed(FAILURE, f"the metadata service named the file {name!r}")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)


def _fetch(server_id: str, upstream: MetadataUpstream) -> dict[str, bytes]:
    headers = {
        signing.INSTANCE_ID: server_id,
        **signing.proof(upstream.secret, upstream.host, signing.CONFIG_DRIVE + server_id),
    }
    url = upstream.url.rstrip("/") + signing.CONFIG_DRIVE_PATH
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the operator's own URL
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310
            said: dict[str, Any] = json.loads(answer.read(MAX_ANSWER))
        return {name: base64.b64decode(content) for name, content in said.items()}
    except urllib.error.HTTPError as error:
        if error.code == 404:
            raise HostFailed(FAILURE, f"the metadata service knows no server {server_id}, or not us") from error
        raise Unavailable(f"The metadata service answers {error.code}.") from error
    except (OSError, HTTPException, ValueError, binascii.Error) as error:
        raise Unavailable(f"The metadata service does not answer: {error}") from error
