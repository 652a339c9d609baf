"""The embedded block storage: Cinder's v3 API.

What a volume is lies in the log; who makes its bytes follows the log, and nobody waits for that here.
"""

from adapters.rest.kit.operation import Operation
from adapters.rest.volume import (
    attachments,
    metadata,
    new_volume,
    not_yet,
    quotas,
    snapshots,
    surroundings,
    type_access,
    types,
    volume_actions,
    volumes,
)
from adapters.rest.volume import discovery as versions

VOLUMES = (volumes, new_volume, volume_actions, snapshots, metadata, attachments)
AROUND = (versions, types, type_access, quotas, surroundings, not_yet)


def operations() -> list[Operation]:
    """All operations under ``/v3``."""
    return [operation for module in (*VOLUMES, *AROUND) for operation in module.operations]


def discovery() -> list[Operation]:
    """What is served above the version."""
    return list(versions.roots)
