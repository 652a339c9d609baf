"""Creating servers: from Nova's request to ours, everything looked up and checked before it is accepted."""

from msgspec import UNSET, UnsetType

from adapters.rest.compute import links
from adapters.rest.compute.servers import choices, hints
from adapters.rest.compute.servers.create_body import CreateBody, NewServerBody, Volume
from adapters.rest.kit import since
from adapters.rest.kit.errors import not_implemented
from adapters.rest.kit.operation import Access, Call, Operations, Reply
from adapters.rest.kit.validation import boolean, hostname, integer
from domain.errors import Invalid, Refused
from domain.guest import ImageSource
from domain.image_properties import hardware
from domain.server import wish
from handlers.servers.guest_secrets import Secrets
from handlers.servers.requests import NewServer

operations = Operations()

LOOKED_UP = {"flavor", "image", "networks", "public_key", "security_groups"}
MADE_OUT = {"config_drive", "description", "group", "hints", "hostname", "tags", *choices.ACCESS}
AS_ASKED = tuple(name for name in wish.FIELDS if name not in LOOKED_UP | MADE_OUT)
"""What a server is as the body has it; all else of a wish has to be looked up, or made of what is asked."""
FIRST_IN_ORDER = (0, "0")
"""The boot index of the root disk."""


@operations("POST", "/servers", Access.MEMBER, "os_compute_api:servers:create", body=CreateBody, status=202)
async def create(call: Call) -> Reply:
    body: CreateBody = call.body
    asked = body.server
    if asked.networks is UNSET and call.minor >= since.NETWORKS_REQUIRED:
        raise Invalid("Invalid input for field/attribute server. 'networks' is a required property")
    if isinstance(asked.networks, str) and call.minor < since.NETWORKS_REQUIRED:
        raise Invalid(
            f"Invalid input for field/attribute networks. Value: {asked.networks}. {asked.networks!r} is not of type "
            "'array'"
        )
    await _check_disks(call, asked)
    choices.refuse_unsupported(asked)
    hinted = hints.given(body)
    min_count, max_count = _counts(asked)
    password = choices.password(asked.adminPass)
    zone, host = choices.zone_and_host(call, asked)
    image, min_ram_mb = await choices.image(call, _image_ref(asked))
    config_drive = _config_drive(asked, image)
    new = NewServer(
        **choices.as_asked(asked, AS_ASKED),
        **choices.access_addresses(asked),
        flavor=choices.flavor(call, str(asked.flavorRef)),
        image=image,
        min_ram_mb=min_ram_mb,
        networks=await choices.networks(call, asked.networks, max_count),
        public_key=choices.public_key(call, None if asked.key_name is UNSET else asked.key_name),
        security_groups=_security_groups(asked),
        availability_zone=zone,
        host=host,
        config_drive=config_drive,
        description=_description(call, asked),
        tags=tuple(dict.fromkeys(asked.tags)) if asked.tags is not UNSET else (),
        hostname=_hostname(call, asked, max_count),
        group=hints.terms(call, hinted),
        hints=hinted,
        secrets=_secrets(asked, password, config_drive=config_drive),
        min_count=min_count,
        max_count=max_count,
    )
    if max_count > 1 and any(network.fixed_ip for network in new.networks):
        raise Invalid("Invalid fixed IP Address. A fixed IP cannot be requested for several servers.")
    accepted = await call.services.servers.create(call.context, new)
    await call.settle(*accepted)
    first = accepted[0].aggregate.id
    if asked.return_reservation_id is not UNSET and boolean("return_reservation_id", asked.return_reservation_id):
        server = await call.services.queries.server(first)
        assert server is not None
        return Reply({"reservation_id": server.reservation_id})
    return _accepted(call, first, new, password)


def _accepted(call: Call, server_id: str, new: NewServer, password: str) -> Reply:
    server_links = links.item(call, "servers", server_id)
    document = {
        "id": server_id,
        "links": server_links,
        "OS-DCF:diskConfig": "MANUAL",
        "security_groups": [{"name": name} for name in new.security_groups or ("default",)],
        "adminPass": password,
    }
    return Reply({"server": document}, headers={"Location": server_links[0]["href"]})


def _counts(asked: NewServerBody) -> tuple[int, int]:
    min_count = integer("min_count", asked.min_count, least=1) if asked.min_count is not UNSET else 1
    max_count = integer("max_count", asked.max_count, least=1) if asked.max_count is not UNSET else min_count
    if min_count > max_count:
        raise Invalid("min_count must be <= max_count")
    if max_count > choices.MAX_COUNT:
        raise Invalid(f"max_count must be <= {choices.MAX_COUNT}")
    return min_count, max_count


def _description(call: Call, asked: NewServerBody) -> str | None:
    """Before 2.19 the name was the description."""
    if call.minor < since.DESCRIPTION:
        return asked.name
    return asked.description if asked.description is not UNSET else None


def _hostname(call: Call, asked: NewServerBody, max_count: int) -> str | None:
    if asked.hostname is UNSET:
        return None
    if max_count > 1:
        raise Invalid("Unable to allocate a single hostname to multiple instances")
    return hostname(asked.hostname, call.minor)


def _config_drive(asked: NewServerBody, image: ImageSource) -> bool:
    """Whether there is one: because it is asked for, or because the image needs it."""
    wanted = asked.config_drive not in (UNSET, "") and boolean("config_drive", asked.config_drive)
    return wanted or hardware(image.properties).get("img_config_drive") == "mandatory"


def _security_groups(asked: NewServerBody) -> tuple[str, ...]:
    """There is one group, the default one."""
    groups = asked.security_groups if asked.security_groups is not UNSET else []
    names = tuple(sorted({group.name for group in groups if group.name is not UNSET}))
    for name in names:
        if name != "default":
            raise Invalid(f"Security group {name} not found.")
    return names


def _secrets(asked: NewServerBody, password: str, *, config_drive: bool) -> Secrets | None:
    """What must not be readable in the log, if the guest is to get anything of it."""
    files = choices.files(asked.personality)
    if asked.user_data is UNSET and not files and not config_drive:
        return None
    user_data = None if asked.user_data is UNSET else choices.check_base64("user_data", asked.user_data)
    return Secrets(user_data=user_data, admin_pass=password, personality=files)


async def _check_disks(call: Call, asked: NewServerBody) -> None:
    """Refuse every disk but the one that the image becomes; first what is asked for in vain anywhere."""
    volumes = asked.block_device_mapping_v2
    for volume in (*_listed(asked.block_device_mapping), *_listed(volumes)):
        await _check_volume(call, volume)
    if asked.block_device_mapping not in (UNSET, []):
        raise not_implemented("Booting from a volume")
    if volumes is not UNSET:
        first = sum(volume.boot_index in FIRST_IN_ORDER for volume in volumes)
        if first > 1 or (volumes and not first and asked.imageRef in (UNSET, "")):
            raise Invalid(
                "Block Device Mapping is Invalid: Boot sequence for the instance and image/block device mapping "
                "combination is not valid."
            )
        if not all(_is_root_disk(volume, asked) for volume in volumes):
            raise not_implemented("Attaching volumes or further disks")


def _listed(volumes: list[Volume] | UnsetType) -> list[Volume]:
    return [] if volumes is UNSET else volumes


async def _check_volume(call: Call, asked: Volume) -> None:
    """Raise Invalid if it is on a volume that is not there."""
    volume_id = asked.uuid if asked.source_type == "volume" else asked.volume_id
    if not isinstance(volume_id, str):
        return
    try:
        await call.services.neighbours.volumes.check(call.context, volume_id)
    except Refused as error:
        raise Invalid(f"Block Device Mapping is Invalid: failed to get volume {volume_id}.") from error


def _is_root_disk(volume: Volume, asked: NewServerBody) -> bool:
    """Whether it only says, perhaps once more, that the server starts from its image."""
    return (
        volume.source_type == "image"
        and volume.destination_type in (UNSET, "local")
        and volume.boot_index in (*FIRST_IN_ORDER, None)
        and volume.uuid == _image_ref(asked)
    )


def _image_ref(asked: NewServerBody) -> str | UnsetType:
    """The image to start from: named as such, or by the disk that is first in the boot order."""
    if asked.imageRef is UNSET and asked.block_device_mapping_v2 is not UNSET:
        for volume in asked.block_device_mapping_v2:
            if volume.source_type == "image" and volume.boot_index in FIRST_IN_ORDER:
                return volume.uuid
    return asked.imageRef
