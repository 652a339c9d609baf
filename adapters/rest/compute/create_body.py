"""The body of ``POST /servers``. https://docs.openstack.org/api-ref/compute/#create-server"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from adapters.rest.validation import Body, Description, Digits, Name, StringMap, Text255, Versions

MAX_USER_DATA = 65535
"""Characters of base64."""
MAX_TAGS = 50
MAX_PERSONALITY = 1 << 20

HostName = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[a-zA-Z0-9_.-]+$")]
Tag = Annotated[str, Meta(min_length=1, max_length=60, pattern=r"^[^,/]*$")]
Count = Annotated[int, Meta(ge=1)] | Digits


class NetworkRef(Body):
    """An interface that is wanted."""

    uuid: str | UnsetType = UNSET
    fixed_ip: str | UnsetType = UNSET
    port: str | UnsetType | None = UNSET
    tag: Annotated[Tag | UnsetType, Versions(32)] = UNSET


class Volume(Body):
    """A block device, in the old form and the new one."""

    virtual_name: str | UnsetType = UNSET
    volume_id: str | UnsetType | None = UNSET
    snapshot_id: str | UnsetType | None = UNSET
    volume_size: int | str | UnsetType | None = UNSET
    device_name: str | UnsetType = UNSET
    delete_on_termination: bool | str | UnsetType = UNSET
    no_device: Any = UNSET
    connection_info: str | UnsetType = UNSET
    source_type: Literal["volume", "image", "snapshot", "blank"] | UnsetType = UNSET
    uuid: str | UnsetType = UNSET
    image_id: str | UnsetType = UNSET
    destination_type: Literal["local", "volume"] | UnsetType = UNSET
    guest_format: str | UnsetType = UNSET
    device_type: str | UnsetType = UNSET
    disk_bus: str | UnsetType = UNSET
    boot_index: int | str | UnsetType | None = UNSET
    tag: Annotated[Tag | UnsetType, Versions(32)] = UNSET
    volume_type: Annotated[str | UnsetType | None, Versions(67)] = UNSET


class SecurityGroupRef(Body):
    """A security group, by name or id."""

    name: Name | UnsetType = UNSET


class File(Body):
    """A file to be put into the guest."""

    path: Text255
    contents: str


class NewServerBody(Body):
    """The server that is wanted."""

    name: Name
    flavorRef: str | int  # noqa: N815 - Nova's names
    imageRef: str | UnsetType = UNSET  # noqa: N815
    adminPass: str | UnsetType = UNSET  # noqa: N815
    metadata: StringMap | UnsetType = UNSET
    networks: list[NetworkRef] | Literal["auto", "none"] | UnsetType = UNSET
    disk_config: Literal["AUTO", "MANUAL"] | UnsetType = msgspec.field(default=UNSET, name="OS-DCF:diskConfig")
    accessIPv4: str | UnsetType = UNSET  # noqa: N815
    accessIPv6: str | UnsetType = UNSET  # noqa: N815
    personality: Annotated[list[File] | UnsetType, Versions(1, 56)] = UNSET
    availability_zone: Name | UnsetType = UNSET
    block_device_mapping: list[Volume] | UnsetType = UNSET
    block_device_mapping_v2: list[Volume] | UnsetType = UNSET
    config_drive: bool | str | UnsetType = UNSET
    key_name: Name | UnsetType = UNSET
    min_count: Count | UnsetType = UNSET
    max_count: Count | UnsetType = UNSET
    return_reservation_id: bool | str | UnsetType = UNSET
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
    hints: dict[str, Any] | UnsetType = msgspec.field(default=UNSET, name="os:scheduler_hints")
    old_hints: dict[str, Any] | UnsetType = msgspec.field(default=UNSET, name="OS-SCH-HNT:scheduler_hints")
