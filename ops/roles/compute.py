"""The compute agents' processes: one host with libvirt, or many simulated ones."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Literal, cast
from uuid import NAMESPACE_DNS, uuid4, uuid5

from adapters.nats.commands import NatsCommandBus
from adapters.nats.liveness import NatsLiveness
from adapters.system import SystemClock, SystemIds
from domain.errors import HostFailed, Unavailable
from domain.fleet.host import simulated_name
from handlers.context import Stamp
from handlers.host.agent import Agent
from handlers.ports import Hypervisor
from ops import notify
from ops.roles.plane import open_connection
from ops.settings import ComputeSettings, Settings, SimulatedSettings

log = logging.getLogger(__name__)

EVICT_SECONDS = 3600.0

if TYPE_CHECKING:
    from adapters.libvirt.domain_xml import SpiceMode
    from adapters.libvirt.hypervisor import LibvirtHypervisor
    from adapters.libvirt.metadata_proxy import MetadataUpstream


async def run(settings: Settings, name: str) -> None:
    """Serve this machine's libvirt until cancelled."""
    from adapters.image_files import HttpImageFiles
    from adapters.libvirt.hypervisor import LibvirtHypervisor
    from adapters.libvirt.settings import LibvirtSettings

    compute = settings.compute
    host = compute.name
    state_dir = settings.state_dir.absolute() / "compute"
    state_dir.mkdir(parents=True, exist_ok=True)
    password = compute.password_file.read_text().strip() if compute.password_file else ""
    files = HttpImageFiles(compute.image_url, compute.identity_url, compute.user, password)
    hypervisor = LibvirtHypervisor(
        LibvirtSettings(
            host_name=host,
            state_dir=state_dir,
            shared_dir=compute.shared_dir,
            uri=compute.uri,
            virt_type=await _virt_type(compute.virt_type, settings.cache),
            cpu_model=compute.cpu_model or None,
            metadata=_metadata(settings),
            config_drive_format=compute.config_drive_format,
            image_cache_gb=compute.image_cache_gb,
            console_listen=compute.console_address,
            screens_by_tls=compute.screen_tls_dir is not None,
            console_namespace=compute.console_namespace,
            host_ip=compute.console_address,
            migration_uri=compute.migration_uri,
            migration_ip=compute.migration_address or None,
            migration_mib=compute.migration_mib,
            max_incoming=compute.max_incoming_live_migrations,
            post_copy=compute.post_copy,
            tunnel_device=compute.tunnel_device or None,
            spice=_spice(compute),
        ),
        files,
    )
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_evict_images(hypervisor))
            await _serve(settings, name, {host: hypervisor}, {host: _host_id(state_dir)}, files.keep)
    finally:
        await hypervisor.close()


async def _evict_images(hypervisor: "LibvirtHypervisor") -> None:
    """Remove the cached images that no guest has used for a day, now and every hour."""
    while True:
        try:
            for image in await hypervisor.evict_images():
                log.info("image %s is removed from the cache", image)
        except (HostFailed, Unavailable) as error:
            log.warning("the image cache could not be looked through: %s", error)
        await asyncio.sleep(EVICT_SECONDS)


async def run_simulated(settings: Settings, name: str) -> None:
    """Serve simulated hosts until cancelled. They forget their guests with this process, as a host loses its
    running guests with its power."""
    from adapters.image_files import HttpImageFiles
    from adapters.simulated import Behaviour, SimulatedHypervisor

    files = HttpImageFiles(settings.compute.image_url)
    simulated = settings.simulated
    clock, random = SystemClock(), Random()  # noqa: S311 - chance, not secrecy
    hypervisors: dict[str, SimulatedHypervisor] = {}
    hypervisors |= {
        host: SimulatedHypervisor(
            host,
            clock,
            random,
            vcpus=simulated.vcpus,
            memory_mb=simulated.memory_mb,
            disk_gb=simulated.disk_gb,
            behaviour={"build": Behaviour(delay=(simulated.build_seconds,) * 2)},
            others=hypervisors,
            files=files,
        )
        for host in simulated_hosts(simulated)
    }
    host_ids = {host: str(uuid5(NAMESPACE_DNS, host)) for host in hypervisors}
    await _serve(settings, name, hypervisors, host_ids, files.keep)


def simulated_hosts(settings: SimulatedSettings) -> list[str]:
    """The names of the simulated hosts."""
    return [simulated_name(number) for number in range(1, settings.hosts + 1)]


async def _serve(
    settings: Settings,
    name: str,
    hypervisors: Mapping[str, Hypervisor],
    host_ids: dict[str, str],
    keep_tickets: Callable[[Mapping[str, str]], None] = lambda _: None,
) -> None:
    connection = await open_connection(settings.nats, name)
    try:
        many = name if len(hypervisors) != 1 else None
        bus = NatsCommandBus(connection, settings.cell, name=many)
        liveness = NatsLiveness(connection, settings.cell)
        agent = Agent(hypervisors, host_ids, bus, liveness, Stamp(SystemClock(), SystemIds()), keep_tickets)
        async with asyncio.TaskGroup() as group:
            group.create_task(agent.run())
            await agent.enrolled()
            notify.ready()
    finally:
        await connection.close()


def _metadata(settings: Settings) -> "MetadataUpstream | None":
    """The metadata service, for which we sign with our own secret; or with the common one, if it is Nova's."""
    from adapters.libvirt.metadata_proxy import MetadataUpstream

    own, common = settings.compute.secret_file, settings.metadata.shared_secret_file
    if own is not None:
        return MetadataUpstream(settings.metadata.url, own.read_bytes().strip(), settings.compute.name)
    return MetadataUpstream(settings.metadata.url, common.read_bytes().strip()) if common else None


def _spice(settings: ComputeSettings) -> "SpiceMode | None":
    if not settings.spice:
        return None
    return "secure" if settings.screen_tls_dir else "any"


async def _virt_type(wanted: str, cache: Path) -> Literal["kvm", "qemu"]:
    if wanted != "auto":
        return cast("Literal['kvm', 'qemu']", wanted)
    from ops.embedded.virt_type import probe_virt_type
    from ops.guest_image.build import tiny_image

    def probe() -> Literal["kvm", "qemu"]:
        return probe_virt_type(cache, tiny_image(cache / "guest-image"))

    return await asyncio.to_thread(probe)


def _host_id(state_dir: Path) -> str:
    """This machine's identity for ever, whatever its name becomes."""
    file = state_dir / "host_id"
    if not file.exists():
        file.write_text(str(uuid4()))
    return file.read_text().strip()
