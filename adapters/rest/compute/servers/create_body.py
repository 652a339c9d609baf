"""The body of ``POST /servers``. https://docs.openstack.org/api-ref/compute/#create-server"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from adapters.rest.kit.validation import (
    MAX_INTEGER,
    Body,
    Description,
    Digits,
    Flag,
    Integer,
    Name,
    StringMap,
    Text64K,
    Text255,
    Versions,
)
from domain.server.limits import MAX_TAGS

MAX_USER_DATA = 65535
"""Characters of base64."""

HostName = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[a-zA-Z0-9_.-]+\Z")]
Tag = Annotated[str, Meta(min_length=1, max_length=60, pattern=r"^[^,/\x00-\x1f\x7f]*\Z")]
Count = Annotated[int, Meta(ge=1, le=MAX_INTEGER)] | Digits


class NetworkRef(Body):
    """An interface that is wanted."""

    uuid: Text255 | UnsetType = UNSET
    fixed_ip: Text255 | UnsetType = UNSET
    port: Text255 | UnsetType | None = UNSET
    tag: Annotated[Tag | UnsetType, Versions(32)] = UNSET


class Volume(Body):
    """A block device, in the old form and the new one."""

    virtual_name: Text255 | UnsetType = UNSET
    volume_id: Text255 | UnsetType | None = UNSET
    snapshot_id: Text255 | UnsetType | None = UNSET
    volume_size: Integer | Text255 | UnsetType | None = UNSET
    device_name: Text255 | UnsetType = UNSET
    delete_on_termination: Flag | UnsetType = UNSET
    no_device: Any = UNSET
    connection_info: Text64K | UnsetType = UNSET
    source_type: Literal["volume", "image", "snapshot", "blank"] | UnsetType = UNSET
    uuid: Text255 | UnsetType = UNSET
    image_id: Text255 | UnsetType = UNSET
    destination_type: Literal["local", "volume"] | UnsetType = UNSET
    guest_format: Text255 | UnsetType = UNSET
    device_type: Text255 | UnsetType = UNSET
    disk_bus: Text255 | UnsetType = UNSET
    boot_index: Integer | Text255 | UnsetType | None = UNSET
    tag: Annotated[Tag | UnsetType, Versions(32)] = UNSET
    volume_type: Annotated[Text255 | UnsetType | None, Versions(67)] = UNSET


class SecurityGroupRef(Body):
    """A security group, by name or id."""

    name: Name | UnsetType = UNSET


class File(Body):
    path: Text255
    contents: Text64K


class NewServerBody(Body):
    name: Name
    flavorRef: Text255 | Integer  # noqa: N815 - Nova's names
    imageRef: Text255 | UnsetType = UNSET  # noqa: N815
    adminPass: Text255 | UnsetType = UNSET  # noqa: N815
    metadata: StringMap | UnsetType = UNSET
    networks: list[NetworkRef] | Literal["auto", "none"] | UnsetType = UNSET
    disk_config: Literal["AUTO", "MANUAL"] | UnsetType = msgspec.field(default=UNSET, name="OS-DCF:diskConfig")
    access_ipv4: Text255 | UnsetType = msgspec.field(default=UNSET, name="accessIPv4")
    access_ipv6: Text255 | UnsetType = msgspec.field(default=UNSET, name="accessIPv6")
    personality: Annotated[list[File] | UnsetType, Versions(1, 56)] = UNSET
    availability_zone: Name | UnsetType = UNSET
    block_device_mapping: list[Volume] | UnsetType = UNSET
    block_device_mapping_v2: list[Volume] | UnsetType = UNSET
    config_drive: Flag | UnsetType = UNSET
    key_name: Name | UnsetType = UNSET
    min_count: Count | UnsetType = UNSET
    max_count: Count | UnsetType = UNSET
    return_reservation_id: Flag | UnsetType = UNSET
    security_groups: list[SecurityGroupRef] | UnsetType = UNSET
    user_data: Annotated[str, Meta(max_length=MAX_USER_DATA)] | UnsetType = UNSET
    description: Annotated[Description | UnsetType | None, Versions(19)] = UNSET
    tags: Annotated[Annotated[list[Tag], Meta(max_length=MAX_TAGS)] | UnsetType, Versions(52)] = UNSET
    trusted_image_certificates: Annotated[
        Annotated[list[Text255], Meta(min_length=1, max_length=50)] | UnsetType | None, Versions(63)
    ] = UNSET
    host: Annotated[HostName | UnsetType, Versions(74)] = UNSET
    hypervisor_hostname: Annotated[HostName | UnsetType, Versions(74)] = UNSET
    hostname: Annotated[HostName | UnsetType, Versions(90)] = UNSET


class CreateBody(Body):
    """``{"server": …}`` with the hints beside it."""

    server: NewServerBody
    hints: dict[Text255, Any] | UnsetType = msgspec.field(default=UNSET, name="os:scheduler_hints")
    old_hints: dict[Text255, Any] | UnsetType = msgspec.field(default=UNSET, name="OS-SCH-HNT:scheduler_hints")
