"""Port security with real guests: one takes the other's addresses, and gets nothing by it."""

import asyncio
import os
import subprocess
from pathlib import Path
from uuid import uuid4

import pytest

from adapters.libvirt.hypervisor import LibvirtHypervisor
from adapters.libvirt.metadata_proxy import MetadataUpstream
from adapters.libvirt.network import Names
from adapters.libvirt.settings import LibvirtSettings
from adapters.metadata import signing
from domain.guest import GuestSpec
from tests.adapters.libvirt.test_life import boot_lines, console, prompt
from tests.adapters.libvirt.test_metadata_proxy import SECRET, Service
from tests.aio import asynchronous
from tests.real_libvirt import Daemons, LocalImages, guest_spec, nic, tiny_disk, traces
from tests.waiting import until

pytestmark = pytest.mark.libvirt

TOOLS = r"""
ask() { timeout 3 wget -q -O - http://169.254.169.254/openstack && echo " told-$1" || echo "silence-$1"; }
lease() { udhcpc -i eth0 -f -n -q -t 2 -T 1 -s /bin/true > /dev/null 2>&1 && echo "lease-$1" || echo "none-$1"; }
reach() { ping -c 1 -W 1 10.5.0.2 > /dev/null && echo "reached-$1" || echo "lost-$1"; }
visit() { timeout 3 wget -q -O - http://10.5.0.7/cgi-bin/index.cgi && echo "visited-$1"; }
take() { ip addr flush dev eth0; ip addr add $1/24 dev eth0; ip route add 169.254.169.254 via 10.5.0.2; }
wear() { ip link set eth0 down; ip link set eth0 address $1; ip link set eth0 up; }
"""


class Operator:
    """Types into a guest and reads what it says."""

    def __init__(self, agent: LibvirtHypervisor, spec: GuestSpec, terminal: int) -> None:
        self._agent = agent
        self._spec = spec
        self._terminal = terminal

    async def does(self, commands: str, *said: str) -> None:
        """Type the commands, and wait until the guest has said all this."""
        os.write(self._terminal, commands.encode() + b"\n")

        async def all_said() -> bool:
            printed = await self._agent.console_log(self._spec.server_id, None)
            return all(words in printed for words in said)

        await until(all_said, 30)


@asynchronous
async def test_a_guest_that_takes_its_neighbours_addresses(tmp_path: Path, libvirtd: Daemons) -> None:
    service = Service()
    server = await asyncio.start_server(service.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    metadata = MetadataUpstream(url, SECRET)
    images = LocalImages()
    agent = LibvirtHypervisor(LibvirtSettings(host_name="node1", state_dir=tmp_path, metadata=metadata), images)
    network, image = str(uuid4()), images.add(tiny_disk())
    victim, thief = (guest_spec(image, nic(network, last), name=f"web{last}") for last in (7, 8))
    inside = ("ip", "netns", "exec", Names.of(str(tmp_path), network).namespace)
    try:
        for spec in (victim, thief):
            await agent.build(spec)
        for spec in (victim, thief):
            (line,) = await boot_lines(agent, spec, 1)
            assert f"addresses=eth0={spec.nics[0].ip_address}/24" in line
        await prompt(agent, thief)
        asked_before = asked_for(service, victim)
        with console(thief) as terminal:
            operator = Operator(agent, thief, terminal)
            for tool in TOOLS.strip().splitlines():
                await operator.does(tool)
            own = f"{thief.server_id} told-"
            await operator.does("ask first; lease first; reach first", f"{own}first", "lease-first", "reached-first")
            await operator.does("visit first", "hostname=web7", "visited-first")

            # The rules need no libvirtd to hold.
            if libvirtd.ours:
                libvirtd.kill_libvirtd()
            await operator.does("take 10.5.0.7; ask address; reach address", "silence-address", "lost-address")
            await operator.does("take 10.5.0.1; ask gateway", "silence-gateway")
            page = [*inside, "busybox", "wget", "-q", "-O", "-", "http://10.5.0.7/cgi-bin/index.cgi"]
            assert b"hostname=web7" in subprocess.run(page, capture_output=True, check=True).stdout
            if libvirtd.ours:
                libvirtd.restart_libvirtd()
            await operator.does("take 10.5.0.8; ask again; reach again", f"{own}again", "reached-again")

            await operator.does(f"wear {victim.nics[0].mac_address}; lease mac; reach mac", "none-mac", "lost-mac")
            await operator.does("take 10.5.0.7; ask both", "silence-both")
            assert b"hostname=web7" in subprocess.run(page, capture_output=True, check=True).stdout
            await operator.does(
                f"wear {thief.nics[0].mac_address}; take 10.5.0.8; ask last; visit last; lease last",
                *(f"{own}last", "visited-last", "lease-last"),
            )
        assert asked_for(service, victim) == asked_before
    finally:
        for spec in (victim, thief):
            await agent.destroy(spec.server_id)
        await agent.close()
        server.close()
    assert traces(tmp_path, network) == set()


def asked_for(service: Service, spec: GuestSpec) -> int:
    """How often the metadata service was asked in this guest's name."""
    return sum(headers[signing.INSTANCE_ID] == spec.server_id for _, headers, _ in service.asked)
