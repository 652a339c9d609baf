"""The embedded network service: Neutron's v2.0 API as far as clients need it.

Ports come and go with servers, or are a project's own and are given to them.
"""

from adapters.rest.kit.operation import Operation
from adapters.rest.network import networks, none_here, parts, ports, subnets, tags


def operations() -> list[Operation]:
    return [
        *networks.operations,
        *subnets.operations,
        *tags.operations,
        *ports.operations,
        *parts.operations,
        *none_here.operations,
    ]
