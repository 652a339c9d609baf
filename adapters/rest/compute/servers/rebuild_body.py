"""The body of a rebuild. https://docs.openstack.org/api-ref/compute/#rebuild-server-rebuild-action"""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from adapters.rest.compute.servers.create_body import MAX_USER_DATA, File, HostName
from adapters.rest.kit.validation import Body, Description, Flag, Name, StringMap, Text255, Versions


class RebuildArguments(Body):
    """What the server shall be; what is left out stays as it is."""

    imageRef: Text255  # noqa: N815 - Nova's names
    name: Name | UnsetType = UNSET
    adminPass: Text255 | UnsetType = UNSET  # noqa: N815
    metadata: StringMap | UnsetType = UNSET
    preserve_ephemeral: Flag | UnsetType = UNSET
    disk_config: Literal["AUTO", "MANUAL"] | UnsetType = msgspec.field(default=UNSET, name="OS-DCF:diskConfig")
    access_ipv4: Text255 | UnsetType = msgspec.field(default=UNSET, name="accessIPv4")
    access_ipv6: Text255 | UnsetType = msgspec.field(default=UNSET, name="accessIPv6")
    personality: Annotated[list[File] | UnsetType, Versions(1, 56)] = UNSET
    description: Annotated[Description | UnsetType | None, Versions(19)] = UNSET
    key_name: Annotated[Name | UnsetType | None, Versions(54)] = UNSET
    user_data: Annotated[Annotated[str, Meta(max_length=MAX_USER_DATA)] | UnsetType | None, Versions(57)] = UNSET
    trusted_image_certificates: Annotated[
        Annotated[list[Text255], Meta(min_length=1, max_length=50)] | UnsetType | None, Versions(63)
    ] = UNSET
    hostname: Annotated[HostName | UnsetType, Versions(90)] = UNSET


class RebuildBody(Body):
    """``{"rebuild": {"imageRef": …}}``."""

    rebuild: RebuildArguments
