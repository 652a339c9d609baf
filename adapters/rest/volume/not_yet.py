"""Parts of Cinder's API that are not built: each says so by its name, also where it is only read."""

from typing import Never

import msgspec

from adapters.rest.kit.errors import not_implemented
from adapters.rest.kit.operation import Access, Call, Handler, Operations

operations = Operations()

RULE = "volume:not_built"

ACTIONS = {
    "os-attach": "Attaching volumes but by attachments",
    "os-detach": "Detaching volumes but by attachments",
    "os-reserve": "Reserving volumes but by attachments",
    "os-unreserve": "Reserving volumes but by attachments",
    "os-begin_detaching": "Detaching volumes but by attachments",
    "os-roll_detaching": "Detaching volumes but by attachments",
    "os-initialize_connection": "Connecting volumes but by attachments",
    "os-terminate_connection": "Connecting volumes but by attachments",
    "os-force_detach": "Detaching volumes but by attachments",
    "os-volume_upload_image": "Making images of volumes",
    "os-migrate_volume": "Migrating volumes",
    "os-migrate_volume_completion": "Migrating volumes",
    "os-retype": "Changing the type of volumes",
    "os-unmanage": "Managing volumes that others made",
    "revert": "Reverting volumes to snapshots",
}
COLLECTIONS = {
    "backups": "Backups of volumes",
    "groups": "Groups of volumes",
    "group_snapshots": "Groups of volumes",
    "group_types": "Groups of volumes",
    "consistencygroups": "Consistency groups",
    "cgsnapshots": "Consistency groups",
    "os-volume-transfer": "Transferring volumes",
    "volume-transfers": "Transferring volumes",
    "os-volume-manage": "Managing volumes that others made",
    "manageable_volumes": "Managing volumes that others made",
    "os-snapshot-manage": "Managing snapshots that others made",
    "manageable_snapshots": "Managing snapshots that others made",
    "qos-specs": "QoS specs of volumes",
    "messages": "Messages to users",
    "clusters": "Clusters of block storage",
    "workers": "Clusters of block storage",
    "os-hosts": "Hosts of block storage",
    "capabilities": "Capabilities of backends",
    "scheduler-stats": "Pools of backends",
    "os-quota-class-sets": "Quota classes",
    "default-types": "Default volume types of projects",
}
OTHERS = {
    ("PUT", "/os-services/{what}"): "Disabling block storage services",
    ("GET", "/types/{type_id}/encryption"): "Encryption of volumes",
    ("POST", "/types/{type_id}/encryption"): "Encryption of volumes",
    ("PUT", "/types/{type_id}/extra_specs/{key}"): "Changing a single extra spec but by adding it",
    ("GET", "/volumes/{volume_id}/encryption"): "Encryption of volumes",
}


class AnyBody(msgspec.Struct):
    """Whatever an action takes that is refused anyway."""


def _refusing(what: str) -> Handler:
    async def refuse(_call: Call) -> Never:
        raise not_implemented(what)

    return refuse


for _action, _what in ACTIONS.items():
    operations("POST", "/volumes/{volume_id}/action", Access.READER, RULE, action=_action, body=AnyBody)(
        _refusing(_what)
    )
operations("POST", "/snapshots/{snapshot_id}/action", Access.READER, RULE, action="os-unmanage", body=AnyBody)(
    _refusing("Managing snapshots that others made")
)
for _name, _what in COLLECTIONS.items():
    for _path in (f"/{_name}", f"/{_name}/{{first}}", f"/{_name}/{{first}}/{{second}}"):
        for _method in ("GET", "POST", "PUT", "DELETE"):
            operations(_method, _path, Access.READER, RULE)(_refusing(_what))
for (_method, _path), _what in OTHERS.items():
    operations(_method, _path, Access.READER, RULE)(_refusing(_what))
