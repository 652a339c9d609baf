"""The metadata service's process."""

import asyncio

from adapters.metadata.pages import Pages
from adapters.metadata.service import MetadataService
from adapters.metadata.vendor_data import Target, VendorData
from handlers.fleet.liveness import keep_beating
from handlers.metadata import Passwords, ServerFacts
from ops.host_keys import HostKeys
from ops.roles.plane import open_plane
from ops.roles.serving import serve
from ops.settings import MetadataSettings, Settings


async def run(settings: Settings, name: str) -> None:
    """Serve until cancelled."""
    mine = settings.metadata
    vendor = vendor_data(mine)
    hosts = HostKeys(settings.state_dir.absolute() / "hosts")
    async with open_plane(settings, name) as plane, asyncio.TaskGroup() as group:
        facts = ServerFacts(plane.store, plane.vault, plane.stamp)
        passwords = Passwords(plane.cells)
        background = [
            group.create_task(facts.run()),
            group.create_task(plane.watch()),
            group.create_task(keep_beating(plane.liveness, plane.stamp.clock, f"metadata/{name}")),
        ]
        await facts.ready()
        pages = Pages(facts, passwords, vendor)
        service = MetadataService(facts, passwords, pages, hosts.secret, shared_secret(mine), plane.stamp)
        await serve(service, mine.listen, mine.port, background)


def vendor_data(settings: MetadataSettings) -> VendorData:
    """What the operator adds. Raises Invalid."""
    return VendorData(
        settings.vendor_data_file,
        tuple(Target.parse(text) for text in settings.vendor_data_targets),
        timeout=settings.vendor_data_timeout,
        fatal=settings.vendor_data_failure_fatal,
    )


def shared_secret(settings: MetadataSettings) -> bytes | None:
    """What proxies sign with that are not our hosts; None: there are none."""
    file = settings.shared_secret_file
    return file.read_bytes().strip() if file else None
