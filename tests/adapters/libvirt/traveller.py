"""A real guest on one of two hosts, with its disk on each or on both, for tests that move it."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import libvirt
import msgspec

from adapters.libvirt.domain_xml import HostFacts, domain_xml
from adapters.libvirt.holding import Holding, holding
from adapters.libvirt.live_migration import LiveMigrations, Migration
from adapters.libvirt.network import Names
from domain.guest import Nic
from tests.own_hosts import OwnHost
from tests.real_libvirt import guest_spec, tiny_disk
from tests.waiting import wait_until

BOOT_SECONDS = 60


class Traveller:
    """Begins on the first host. With ``shared`` its disk is one file that both hosts see."""

    def __init__(self, hosts: list[OwnHost], shared: Path | None = None, nic: Nic | None = None) -> None:
        self.hosts = hosts
        self.spec = guest_spec(None, *([nic] if nic else []), ram_mb=96)
        self.id = self.spec.server_id
        self.homes = [own.host.directory / "compute" for own in hosts]
        self._shared = shared
        for place in range(2):
            (self.homes[place] / self.id).mkdir(parents=True, exist_ok=True)
        self.make_disk(0)
        with self.libvirt(0) as conn:
            conn.defineXML(self.xml(0, epoch=1)).create()

    def disk(self, place: int) -> Path:
        return (self._shared or self.homes[place]) / f"{self.id}.qcow2"

    def make_disk(self, place: int) -> None:
        over = ("-F", "qcow2", "-b", tiny_disk())
        words = ["qemu-img", "create", "-q", "-f", "qcow2", *over, self.disk(place), "1G"]
        subprocess.run(words, check=True)

    def xml(self, place: int, epoch: int) -> str:
        home = self.homes[place]
        facts = HostFacts(
            home=str(home),
            virt_type="qemu",
            cpu="Nehalem",
            disk=self.disk(place),
            console_log=home / self.id / "console.log",
            bridges={nic.network_id: Names.of(str(home), nic.network_id).bridge for nic in self.spec.nics},
        )
        return domain_xml(msgspec.structs.replace(self.spec, epoch=epoch), facts)

    def migration(self, to: int = 1, **changes: Any) -> Migration:
        copied = () if self._shared else ("vda",)
        uri = f"qemu+tcp://{self.hosts[to].host.name}/system"
        facts = {"server_id": self.id, "target_uri": uri, "wanted": self.xml(to, epoch=2), "copied": copied}
        return Migration(**facts | changes)

    def leaving(self, place: int = 0) -> LiveMigrations:
        return LiveMigrations(self.hosts[place].uri, str(self.homes[place]))

    def libvirt(self, place: int) -> "Opened":
        return Opened(self.hosts[place].uri)

    def held(self) -> tuple[Holding, Holding]:
        """By the first and by the second host."""
        found = []
        for place in range(2):
            with self.libvirt(place) as conn:
                found.append(holding(conn, str(self.homes[place]), self.id))
        return found[0], found[1]

    def printed(self, place: int) -> str:
        log = self.homes[place] / self.id / "console.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def await_boot(self) -> None:
        wait_until(lambda: "BOOT-COMPLETE" in self.printed(0), BOOT_SECONDS)

    def say(self, place: int, command: str, awaited: str) -> None:
        """Type a command at its console there, until it answers so."""

        type_until(self.hosts[place].uri, self.id, command, lambda: awaited in self.printed(place))

    def end(self) -> None:
        for place in range(2):
            with self.libvirt(place) as conn:
                for domain in conn.listAllDomains():
                    if domain.UUIDString() == self.id:
                        if domain.isActive():
                            domain.destroy()
                        if domain.isPersistent():
                            domain.undefine()


def type_until(uri: str, server_id: str, command: str, is_answered: Callable[[], bool]) -> None:
    """Type a command at a guest's console, until that has an answer."""

    def answers() -> bool:
        with Opened(uri) as conn:
            stream = conn.newStream(libvirt.VIR_STREAM_NONBLOCK)
            conn.lookupByUUIDString(server_id).openConsole(None, stream, libvirt.VIR_DOMAIN_CONSOLE_FORCE)
            stream.send(f"{command}\n".encode())
            wait_until(is_answered, 10)
            stream.finish()
        return True

    wait_until(answers, 30)


class Opened:
    """A connection for a moment."""

    def __init__(self, uri: str) -> None:
        self._uri = uri

    def __enter__(self) -> Any:
        self._conn = libvirt.open(self._uri)
        return self._conn

    def __exit__(self, *_: object) -> None:
        self._conn.close()
