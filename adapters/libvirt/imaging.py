"""A host's part in making an image of a guest: what its disk holds at one moment, in a file that stands alone.

Of a guest that has a QEMU, that QEMU makes it by a backup job, while the guest goes on: what it overwrites meanwhile
is saved first, so the file holds what there was when the job began. Of any other, qemu-img does.
"""

import asyncio
import logging
from pathlib import Path

from adapters.disk_space import spare
from adapters.libvirt.backup import Backup, abort, begin, ended
from adapters.libvirt.commands import NO_SPACE, file_failures, run
from adapters.libvirt.guests import Domain
from adapters.libvirt.moving import Moving
from adapters.libvirt.settings import LibvirtSettings
from domain.errors import HostFailed, Unavailable
from domain.guest import GuestSpec, GuestState
from handlers.ports import ImageFiles

log = logging.getLogger(__name__)

FAILED = "The host could not make an image of the server's disk."
NOT_SAVED = "Nothing was kept for this image."
SAVE_SECONDS = 3000.0
"""As long as the making of an image may take."""
BLOCK = 512
"""Bytes in which a file system counts what a file takes."""
LOOK_SECONDS = 0.2
"""Between two looks at a job under way."""


class Imaging(Moving):
    """What makes images of guests."""

    def __init__(self, settings: LibvirtSettings, files: ImageFiles) -> None:
        super().__init__(settings, files)
        self._files = files

    async def snapshot(self, server_id: str, image_id: str) -> GuestState:
        """As in the port. A file is whole once it has its name."""
        async with self._turns.turn(server_id):
            known = await self._known(server_id)
            saved = self._instances.saved(server_id, image_id)
            if not await asyncio.to_thread(saved.is_kept):
                await self._end_backup(server_id)
                await asyncio.to_thread(self._instances.forget_saved, server_id)
                await self._save(known, saved.part)
                with file_failures(FAILED):
                    await asyncio.to_thread(saved.part.replace, saved.file)
            return self._turns.tell(await self._on(server_id, Domain.state))

    async def upload(self, server_id: str, image_id: str) -> GuestState:
        async with self._turns.turn(server_id):
            saved = self._instances.saved(server_id, image_id)
            if not await asyncio.to_thread(saved.is_kept):
                raise HostFailed(NOT_SAVED)
            if await asyncio.to_thread(saved.file.exists):
                try:
                    await self._send_file(image_id, saved.file)
                except HostFailed:
                    await asyncio.to_thread(self._instances.forget_saved, server_id)
                    raise
                with file_failures(FAILED):
                    await asyncio.to_thread(saved.note_sent)
            return self._turns.tell(await self._on(server_id, Domain.state))

    async def _send_file(self, image_id: str, file: Path) -> None:
        with file_failures(FAILED):
            source = await asyncio.to_thread(file.open, "rb")
        try:
            await self._files.upload(image_id, source)
        finally:
            source.close()

    async def _save(self, known: GuestSpec, part: Path) -> None:
        server_id, disk = known.server_id, self._instances.disk(known.server_id)
        with file_failures(FAILED):
            size = disk.stat().st_blocks * BLOCK + (known.image.size if known.image else 0)
            if size > spare(disk.parent):
                raise HostFailed(NO_SPACE, "there is no room for a copy of the disk")
        try:
            async with asyncio.timeout(SAVE_SECONDS):
                if not await self._back_up(server_id, disk, part):
                    await run(FAILED, "qemu-img", "convert", "-O", "qcow2", disk, part, seconds=SAVE_SECONDS)
        except TimeoutError:
            await self._end_backup(server_id)
            raise HostFailed(FAILED, "it took too long") from None
        except (HostFailed, asyncio.CancelledError):
            await self._end_backup(server_id)
            raise

    async def _back_up(self, server_id: str, disk: Path, part: Path) -> bool:
        """Have QEMU make the file; False if the guest has none, or it ended in the middle."""
        if not await self._on(server_id, lambda domain: begin(domain, disk, part)):
            return False
        state = Backup.UNDER_WAY
        while state is Backup.UNDER_WAY:
            await asyncio.sleep(LOOK_SECONDS)
            state = await self._on(server_id, ended)
        if state is Backup.DONE:
            return True
        if await self._on(server_id, Domain.is_active):
            raise HostFailed(FAILED, f"the backup job has ended: {state.value}")
        log.info("the guest of server %s was powered off while its image was made: it is made anew", server_id)
        return False

    async def _end_backup(self, server_id: str) -> None:
        """End a job that somebody began who is not here any more; harmless if there is none."""
        try:
            await self._on(server_id, abort)
        except (HostFailed, Unavailable) as error:
            log.warning("server %s: ending a backup: %s", server_id, error)
