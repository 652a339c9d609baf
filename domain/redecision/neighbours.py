"""The rules of the embedded neighbours: images, networks, volumes, tokens."""

from collections.abc import Iterable

from msgspec.structs import replace

from domain.catalogue.quota import Limits
from domain.log.batch import Change
from domain.log.record import Event
from domain.neighbours import image, network, token, volume_type
from domain.neighbours.image import (
    ImageCreated,
    ImageDeactivated,
    ImageDeleted,
    ImageMemberAnswered,
    ImageReactivated,
    ImageShared,
    ImageUnshared,
    ImageUpdated,
    ImageUploaded,
)
from domain.neighbours.network import (
    Network,
    NetworkChanged,
    NetworkCreated,
    NetworkDeleted,
    PortBound,
    PortChange,
    PortCreated,
    PortDeleted,
    PortMade,
    PortUnbound,
    PortUpdated,
    SubnetChanged,
    SubnetCreated,
    SubnetDeleted,
)
from domain.neighbours.token import TokenRevoked
from domain.neighbours.volume import state as storage
from domain.neighbours.volume_type import VolumeTypeCreated, VolumeTypeDeleted, VolumeTypeUpdated
from domain.redecision import volumes
from domain.redecision.rules import Batch, Rule, there


def _ports(state: Network | None, change: PortChange, _limits: Limits) -> Iterable[Change]:
    state = there(state)
    match change:
        case PortCreated():
            # Whether an address that was erased was free cannot be told any more.
            address = change.ip_address if network.is_address(change.ip_address) else None
            decided = network.allocate(
                state, port_id=change.port_id, server_id=change.server_id, cell=change.cell,
                project_id=change.project_id, index=change.index, ip_address=address,
            )  # fmt: skip
            return [replace(port, ip_address=change.ip_address, asked=change.asked) for port in decided]
        case PortDeleted():
            return [change] if change.port_id in state.ports else []
        case PortMade():
            said = network.Said(change.name, change.description, change.device_id, change.device_owner)
            decided_ports = network.make_port(
                state, port_id=change.port_id, project_id=change.project_id, now=change.made_at, said=said,
                mac_address=change.mac_address, ip_address=change.fixed_ip,
            )  # fmt: skip
            return [replace(port, asked=change.asked) for port in decided_ports]
        case PortUpdated():
            said = network.Said(change.name, change.description, change.device_id, change.device_owner)
            return network.update_port(state, change.port_id, lambda _: said)
        case PortBound():
            return network.bind(
                state, change.port_id, server_id=change.server_id, cell=change.cell, index=change.index
            )
        case PortUnbound():
            port = state.ports.get(change.port_id)
            return [change] if port and port.server_id == change.server_id else []


RULES: dict[type[Event], Rule] = {
    ImageCreated: lambda found, event, _: image.create(found, event),
    ImageUploaded: lambda found, event, _: image.upload(found, there(found).id, event),
    ImageUpdated: lambda found, event, _: image.update(found, there(found).id, event),
    ImageDeactivated: lambda found, _event, _: image.deactivate(found, there(found).id),
    ImageReactivated: lambda found, _event, _: image.reactivate(found, there(found).id),
    ImageShared: lambda found, event, _: image.share(found, there(found).id, event.member_id),
    ImageMemberAnswered: lambda found, event, _: image.answer(found, there(found).id, event.member_id, event.status),
    ImageUnshared: lambda found, event, _: image.unshare(found, there(found).id, event.member_id),
    ImageDeleted: lambda found, _event, _: image.delete(found, there(found).id),
    NetworkCreated: lambda found, event, _: network.create(found, event),
    NetworkChanged: lambda found, event, _: network.change(found, lambda _: event),
    NetworkDeleted: lambda found, _event, _: network.delete(found),
    VolumeTypeCreated: lambda types, event, _: volume_type.create(types, event.volume_type),
    VolumeTypeUpdated: lambda types, event, _: volume_type.update(types, event.volume_type),
    VolumeTypeDeleted: lambda types, event, _: volume_type.delete(types, event.volume_type_id),
    SubnetCreated: lambda found, event, _: network.add_subnet(found, event.subnet),
    SubnetChanged: lambda found, event, _: network.change_subnet(
        found, event.subnet.id, lambda _: event.subnet, has_dhcp=event.subnet.dhcp_ip is not None
    ),
    SubnetDeleted: lambda found, event, _: network.delete_subnet(found, event.subnet_id),
    TokenRevoked: lambda revoked, event, _: token.revoke(revoked, event.user_id, event.expires_at),
}
BATCHES: dict[str, Batch] = {network.KIND.name: _ports, storage.KIND.name: volumes.decide}
