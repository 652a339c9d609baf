"""The metadata service's process."""

import asyncio

from adapters.metadata.pages import Pages
from adapters.metadata.service import MetadataService
from adapters.metadata.vendor_data import Target, VendorData
from domain.errors import Invalid
from handlers.liveness import keep_beating
from handlers.metadata import Passwords, ServerFacts
from ops.roles.plane import open_plane
from ops.roles.serving import serve
from ops.settings import MetadataSettings, Settings


async def run(settings: Settings, name: str) -> None:
    """Serve until cancelled."""
    mine = settings.metadata
    vendor = vendor_data(mine)
    secret = shared_secret(mine)
    async with open_plane(settings, name) as plane, asyncio.TaskGroup() as group:
        facts = ServerFacts(plane.store, plane.vault, plane.stamp)
        passwords = Passwords(plane.store, plane.vault, plane.stamp)
        background = [
            group.create_task(facts.run()),
            group.create_task(keep_beating(plane.liveness, plane.stamp.clock, f"metadata/{name}")),
        ]
        await facts.ready()
        service = MetadataService(facts, passwords, Pages(facts, passwords, vendor), secret, plane.stamp)
        await serve(service, mine.listen, mine.port, background)


def vendor_data(settings: MetadataSettings) -> VendorData:
    """What the operator adds. Raises Invalid."""
    return VendorData(
        settings.vendor_data_file,
        tuple(Target.parse(text) for text in settings.vendor_data_targets),
        timeout=settings.vendor_data_timeout,
        fatal=settings.vendor_data_failure_fatal,
    )


def shared_secret(settings: MetadataSettings) -> bytes:
    """What proxies sign with. Raises Invalid if there is none."""
    if settings.shared_secret_file is None:
        raise Invalid("[metadata] shared_secret_file is missing: a file with the secret that the hosts sign with.")
    return settings.shared_secret_file.read_bytes().strip()
