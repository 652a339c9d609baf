"""Texts that say something of people: all that events have are known, and whose they are."""

import re
from collections.abc import Iterator
from typing import Any, get_args

import msgspec
import pytest

from domain.kinds import EVENTS
from domain.log.record import Event
from domain.neighbours.network import PortCreated, PortDeleted, PortsChanged
from domain.personal import ADDRESSES, DESCRIPTIONS, KEYPAIRS, TEXTS, WORDS, Owner, rewritten
from domain.server.creation import ServerPlaced
from domain.server.details import ServerAccessAddressesChanged, ServerDescribed
from tests.cell import NIC

SUSPICIOUS = re.compile(r"key_name|public_key|fingerprint|description|(^|_)ip(v[46])?($|_)|(?<!mac_)address")
OF_HOSTS = ("host.enrolled description", "host.described description")
"""What a host says of itself."""
NOBODYS = {
    "server.placed nics.gateway_ip", "server.placed nics.dhcp_ip",  # a network's
    "network.subnet_created subnet.gateway_ip", "network.subnet_created subnet.dhcp_ip",
    "network.subnet_changed subnet.gateway_ip", "network.subnet_changed subnet.dhcp_ip",
    "network.created description", "network.changed description",  # what is said of a network
    "network.subnet_created subnet.former_dhcp_ip", "network.subnet_changed subnet.former_dhcp_ip",
    "network.ports_changed changes.fixed_ip", "network.ports_changed changes.description",
    "network.subnet_created subnet.description", "network.subnet_changed subnet.description",
    "flavor.created flavor.description", "server.requested flavor.description",  # an operator's words
    "volume_type.created volume_type.description", "volume_type.updated volume_type.description",
} | {
    f"identity.{what} description"  # ADR 75: the identity's events are not sealed but for passwords
    for what in ("project_created", "project_changed", "role_created", "role_changed", "user_created", "user_changed",
                 "application_credential_created")
}  # fmt: skip
HERE = Owner("cell1", "s1")


def fields_of(kind: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every field of an event, and of the parts it has."""
    for field in msgspec.structs.fields(kind):
        yield f"{path}{field.name}", field.type
        if "." not in path:
            for part in _structs(field.type):
                yield from fields_of(part, f"{path}{field.name}.")


def _structs(kind: Any) -> list[Any]:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return [kind]
    return [found for inner in get_args(kind) for found in _structs(inner)]


def test_every_text_of_people_has_its_word() -> None:
    found = {
        f"{event.__struct_config__.tag} {path}"
        for event in EVENTS
        for path, kind in fields_of(event)
        if SUSPICIOUS.search(path.rpartition(".")[2]) and (kind is str or str in get_args(kind) or _structs(kind))
    }
    known = {f"{event.__struct_config__.tag} {path}" for event, paths in TEXTS.items() for path in paths}
    known -= {"keypair.created name", "keypair.deleted name"}
    assert {name for name in found if not name.startswith(OF_HOSTS)} - NOBODYS == known
    assert {word for paths in TEXTS.values() for word in paths.values()} == set(WORDS)


def port(server_id: str, address: str) -> PortCreated:
    return PortCreated(
        port_id=f"p-{server_id}", server_id=server_id, cell="cell7", project_id="blue", index=0,
        mac_address="fa:16:3e:00:00:01", ip_address=address,
    )  # fmt: skip


GONE = PortDeleted(port_id="p-x", server_id="x")


@pytest.mark.parametrize(
    ("given", "words", "then"),
    [
        (ServerDescribed(description="a"), [DESCRIPTIONS], ServerDescribed(description="cell1/s1:a")),
        (ServerDescribed(description="a"), [KEYPAIRS, ADDRESSES], ServerDescribed(description="a")),
        (ServerDescribed(description=None), WORDS, ServerDescribed(description=None)),
        (ServerDescribed(description=""), WORDS, ServerDescribed(description="")),
        (
            ServerAccessAddressesChanged(access_ipv4="a", access_ipv6=None), [ADDRESSES],
            ServerAccessAddressesChanged(access_ipv4="cell1/s1:a", access_ipv6=None),
        ),
        (
            PortsChanged(changes=(port("s2", "a"), GONE, port("s3", "b"))), [ADDRESSES],
            PortsChanged(changes=(port("s2", "cell7/s2:a"), GONE, port("s3", "cell7/s3:b"))),
        ),
    ],
)  # fmt: skip
def test_each_text_is_its_owners(given: Event, words: list[str], then: Event) -> None:
    assert rewritten(given, HERE, words, lambda owner, text: f"{owner.cell}/{owner.id}:{text}") == then


def test_an_interfaces_address_is_its_servers() -> None:
    placed = ServerPlaced(host="h", host_id="1", epoch=1, availability_zone="nova", nics=(NIC,))
    changed = rewritten(placed, HERE, [ADDRESSES], lambda owner, text: f"{owner.id}:{text}")
    assert isinstance(changed, ServerPlaced)
    assert [nic.ip_address for nic in changed.nics] == [f"s1:{NIC.ip_address}"]


def test_where_nothing_changes_it_is_the_same_event() -> None:
    event = ServerDescribed(description="a")
    assert rewritten(event, HERE, WORDS, lambda _, text: text) is event
