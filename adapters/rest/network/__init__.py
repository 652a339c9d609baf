"""The embedded network service: Neutron's v2.0 API as far as clients need it.

Ports belong to servers and come and go with them.
"""

from adapters.rest.kit.operation import Operation
from adapters.rest.network import networks, parts, subnets, tags


def operations() -> list[Operation]:
    return [*networks.operations, *subnets.operations, *tags.operations, *parts.operations]
