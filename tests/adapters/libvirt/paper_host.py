"""The networks of an agent, run within a host of a test's own, with a guest that exists on paper and as a namespace.

python -m tests.adapters.libvirt.paper_host NETWORK ADDRESS STATE_DIR

Beside it there may come a guest that moves between such hosts: all of them are ready for it.
"""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

from adapters.libvirt.network import INTERFACES, Names, Networks
from adapters.libvirt.settings import LibvirtSettings
from domain.guest import Nic
from tests.adapters.libvirt.test_network import ask_dhcp
from tests.real_libvirt import guest_spec, nic

TRAVELLERS_ADDRESS = 99


def travellers_nic(network: str) -> Nic:
    """The same wherever it is."""
    return nic(network, TRAVELLERS_ADDRESS, port_id=network, mac_address="fa:16:3e:00:00:63")


def sh(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def pings(namespace: str, who: str) -> bool:
    words = ("ip", "netns", "exec", namespace, "busybox", "ping", "-c1", "-W2", who)
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


class PaperHost:
    def __init__(self, network: str, address: int, state_dir: Path) -> None:
        self.network = network
        self.port = nic(network, address, mac_address=f"fa:16:3e:00:00:{address:02x}")
        self.guests = [guest_spec(None, self.port), guest_spec(None, travellers_nic(network))]
        settings = LibvirtSettings(host_name="node", state_dir=state_dir)
        self.networks = Networks(settings.home, settings.run_dir, lambda: self.guests, tunnel_device="fabric0")
        self.names = Names.of(settings.home, network)

    async def begin(self) -> None:
        await self.networks.refresh(self.network)
        sh("ip", "netns", "add", "guest")
        peer = ("peer", "name", "eth0", "address", self.port.mac_address, "netns", "guest")
        sh("ip", "link", "add", "guest", "type", "veth", *peer)
        sh("ip", "link", "set", "guest", "master", self.names.bridge, "up")
        sh("ip", "-n", "guest", "address", "add", f"{self.port.ip_address}/24", "dev", "eth0")
        sh("ip", "-n", "guest", "link", "set", "eth0", "up")

    async def answer(self, words: list[str]) -> object:
        match words:
            case ["dhcp", mac]:
                return await ask_dhcp(self.names.bridge, mac, 2)
            case ["ping", who]:
                return pings("guest", who)
            case ["serve", who]:
                return pings(self.names.namespace, who)
            case ["neighbour", who]:
                return sh("ip", "-n", "guest", "neighbour", "show", who)
            case ["mend"]:
                sh("ip", "link", "delete", self.names.tunnel)
                await self.networks.mend()
                return True
            case ["leave"]:
                self.guests.clear()
                await self.networks.mend()
                return [path.name for path in INTERFACES.iterdir() if path.name.startswith("lc")]
        raise AssertionError(words)


async def main(network: str, address: str, state_dir: str) -> None:
    host = PaperHost(network, int(address), Path(state_dir))
    await host.begin()
    print("there", flush=True)
    for line in sys.stdin:
        print(json.dumps(await host.answer(line.split())), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
