"""Whether a guest may run on at a host before all of its memory has come: pages that it lacks are fetched when it
touches them. That takes userfaultfd(2), of the kernel and for whoever runs QEMU.
"""

import ctypes
import os
import platform
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

USERFAULTFD = {"x86_64": 323, "aarch64": 282, "riscv64": 282, "ppc64le": 364, "s390x": 355}
"""The number of the system call, by the kernel's name of the architecture."""
FOR_ALL = Path("/proc/sys/vm/unprivileged_userfaultfd")


def is_possible(conn: Any) -> bool:
    """On the host of ``conn``, which is this one. Blocks."""
    return _kernel_has_it() and (_runs_qemu_as_root(conn) or _is_for_all())


def _kernel_has_it() -> bool:
    number = USERFAULTFD.get(platform.machine())
    if number is None:
        return False
    descriptor = ctypes.CDLL(None, use_errno=True).syscall(number, os.O_CLOEXEC | os.O_NONBLOCK)
    if descriptor < 0:
        return False
    os.close(descriptor)
    return True


def _runs_qemu_as_root(conn: Any) -> bool:
    capabilities = ET.fromstring(conn.getCapabilities())  # noqa: S314 (from libvirtd)
    labels = capabilities.findall("host/secmodel[model='dac']/baselabel")
    return bool(labels) and all((label.text or "").startswith("+0:") for label in labels)


def _is_for_all() -> bool:
    try:
        return FOR_ALL.read_text().strip() == "1"
    except OSError:
        return False
