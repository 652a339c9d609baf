"""The embedded image service: Glance's v2 API as far as clients and hosts need it.

What an image is lies in the log; its bytes are a file. Formats are raw and qcow2.
"""

from adapters.rest.image import changes, data, images, members, schemas
from adapters.rest.kit.operation import Operation


def operations() -> list[Operation]:
    return [operation for module in (images, changes, data, members, schemas) for operation in module.operations]
