"""What an image file says of itself: only what a host may safely open is let in.

A qcow2 file may point to other files of the machine that opens it (a backing file, an external data file): such
an image would let its owner read the host. https://gitlab.com/qemu-project/qemu/-/blob/master/docs/interop/qcow2.txt
"""

import struct

from domain.errors import Invalid

QCOW2_MAGIC = b"QFI\xfb"
HEADER_BYTES = 104
"""How much of the file ``inspect`` wants to see."""

_V2 = struct.Struct(">4sIQIIQI")
"""Magic, version, backing file offset and size, cluster bits, size, encryption."""
_INCOMPATIBLE = struct.Struct(">Q")
_INCOMPATIBLE_AT = 72
_EXTERNAL_DATA_FILE = 1 << 2
MAX_DISK_BYTES = 1 << 50
"""Of the disk inside: a pebibyte."""
MIN_CLUSTER_BITS, MAX_CLUSTER_BITS = 9, 21


def inspect(disk_format: str, head: bytes, size: int) -> int:
    """The bytes of the disk inside; raises Invalid if the file is not what it is said to be, or is dangerous.

    ``head`` is the beginning of the file, ``size`` its length.
    """
    is_qcow2 = head.startswith(QCOW2_MAGIC)
    if disk_format == "qcow2":
        if not is_qcow2:
            raise Invalid("The image's data is not qcow2, as its disk_format says.")
        return _qcow2(head)
    if is_qcow2:
        raise Invalid("The image's data is qcow2, but its disk_format says raw.")
    return size


def _qcow2(head: bytes) -> int:
    if len(head) < _V2.size:
        raise Invalid("The qcow2 header is incomplete.")
    _, version, backing_offset, backing_size, cluster_bits, virtual_size, encryption = _V2.unpack_from(head)
    if version not in (2, 3):
        raise Invalid(f"qcow2 version {version} is not supported.")
    if backing_offset or backing_size:
        raise Invalid("The image has a backing file; only an image that stands alone is accepted.")
    if encryption:
        raise Invalid("The image is encrypted; that is not supported.")
    if not MIN_CLUSTER_BITS <= cluster_bits <= MAX_CLUSTER_BITS:
        raise Invalid("The qcow2 header is damaged: impossible cluster size.")
    if virtual_size > MAX_DISK_BYTES:
        raise Invalid(f"The disk inside the image has {virtual_size} bytes; at most {MAX_DISK_BYTES} are accepted.")
    if version == 3:
        if len(head) < HEADER_BYTES:
            raise Invalid("The qcow2 header is incomplete.")
        (incompatible,) = _INCOMPATIBLE.unpack_from(head, _INCOMPATIBLE_AT)
        if incompatible & _EXTERNAL_DATA_FILE:
            raise Invalid("The image keeps its data in another file; only an image that stands alone is accepted.")
    return int(virtual_size)
