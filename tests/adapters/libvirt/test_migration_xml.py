"""A guest's definition for another host: all that is a host's own is the other's, and nothing else has changed."""

from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest

from adapters.libvirt.domain_xml import HostFacts, domain_xml
from adapters.libvirt.migration_xml import for_target, stands_alone
from domain.errors import HostFailed
from tests.real_libvirt import guest_spec, nic

SPEC = guest_spec(None, nic("a-network", 5), nic("b-network", 6), config_drive=True)


def on(host: str, epoch: int = 1) -> str:
    home = Path("/srv") / host
    facts = HostFacts(
        home=str(home),
        virt_type="qemu",
        cpu="Nehalem",
        screens_listen=f"{host}.example.org",
        disk=home / "disk.qcow2",
        console_log=home / "console.log",
        bridges={each.network_id: f"{host}-{each.network_id}" for each in SPEC.nics},
        config_drive=home / "config-drive.img",
        spice="any",
    )
    return domain_xml(msgspec.structs.replace(SPEC, epoch=epoch), facts)


def test_all_that_is_the_hosts_own() -> None:
    assert ET.canonicalize(for_target(on("one"), on("two", 2))) == ET.canonicalize(on("two", 2))


def test_what_the_guest_sees_stays() -> None:
    """As libvirt has it of a running guest: addresses, a terminal, files behind files."""
    agent = '<channel type="unix"><source path="/one/agent"/><target name="agent"/></channel>'
    running = (
        on("one")
        .replace('<target dev="vda" bus="virtio" />', '<backingStore/><mirror/><target dev="vda" bus="virtio" /><a/>')
        .replace('<serial type="pty">', '<serial type="pty"><source path="/dev/pts/7"/><b/>')
        .replace("<devices>", f"<devices>{agent}")
    )
    found = for_target(running, on("two", 2))
    assert "<a />" in found
    assert "<b />" in found
    assert '<target name="agent"' in found
    assert not any(word in found for word in ("backingStore", "mirror", "/dev/pts/7", "/one", "one-"))


def test_what_the_other_host_does_not_know() -> None:
    for part, other in (('dev="vda"', 'dev="vdb"'), (SPEC.nics[1].mac_address, "fa:16:3e:ff:ff:ff")):
        with pytest.raises(HostFailed, match="cannot be defined") as refused:
            for_target(on("one"), on("two").replace(part, other))
        assert "the other host has no" in refused.value.details
    with pytest.raises(HostFailed, match="cannot be defined"):
        for_target(on("one"), on("two").replace(SPEC.server_id, "another"))


def test_whether_the_root_disk_stands_alone() -> None:
    def guest(beneath: str) -> str:
        disk = '<disk device="disk"><target dev="{}"/>{}</disk>'
        second = disk.format("vdb", "<backingStore/>")
        return f"<domain><devices>{disk.format('vda', beneath)}{second}</devices></domain>"

    alone, over = guest("<backingStore/>"), guest('<backingStore type="file"><format type="qcow2"/></backingStore>')
    assert stands_alone(alone, ("vda", "vdb"))
    assert not stands_alone(over, ("vda", "vdb"))
    assert not stands_alone(alone, ("vdb",)), "it is common to both hosts"
    assert not stands_alone(guest(""), ("vda",)), "nobody has looked"
