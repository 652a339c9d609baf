"""KVM where it truly works, emulation else.

Neither /dev/kvm, nor libvirt's capabilities, nor virt-host-validate tell: there are machines whose KVM runs only
kernels made for it. So a real kernel is booted under KVM for some seconds, and has to reach its first
program.
"""

import hashlib
import json
import os
import select
import subprocess
import time
from pathlib import Path
from typing import Literal

from ops.guest_image import TinyImage

VirtType = Literal["kvm", "qemu"]
KVM = Path("/dev/kvm")
ACCELERATOR = "kvm"
PROBE_TIMEOUT = 10.0
"""Seconds; where KVM works a second is plenty."""
PROOF = b"tiny: booting"
"""What the guest's first script prints."""


def probe_virt_type(
    cache_dir: Path, image: TinyImage, *, cpu_model: str = "host", timeout: float = PROBE_TIMEOUT
) -> VirtType:
    """How guests run on this machine, ``kvm`` or ``qemu``.

    Boots ``image`` under KVM with the CPU that guests would get, at most ``timeout`` seconds; the result is kept
    in ``cache_dir`` for as long as host kernel, processor, QEMU and CPU model stay the same.
    """
    if not os.access(KVM, os.R_OK | os.W_OK):
        return "qemu"
    facts = _facts(cpu_model)
    kept = cache_dir / "virt-type.json"
    try:
        known = json.loads(kept.read_text())
        if known["facts"] == facts and known["virt_type"] in {"kvm", "qemu"}:
            found: VirtType = known["virt_type"]
            return found
    except (OSError, ValueError, KeyError, TypeError):
        pass
    result: VirtType = "kvm" if _boots_under_kvm(image, cpu_model, timeout) else "qemu"
    cache_dir.mkdir(parents=True, exist_ok=True)
    fresh = kept.with_suffix(".new")
    fresh.write_text(json.dumps({"facts": facts, "virt_type": result}))
    fresh.replace(kept)
    return result


def _boots_under_kvm(image: TinyImage, cpu_model: str, timeout: float) -> bool:
    machine = (
        "-machine",
        f"q35,accel={ACCELERATOR}",
        "-cpu",
        cpu_model,
        "-m",
        "256",
        "-nodefaults",
        "-no-user-config",
    )
    kernel = (
        "-kernel",
        str(image.kernel),
        "-initrd",
        str(image.initrd),
        "-append",
        "console=ttyS0 panic=-1 quiet",
    )
    quiet = ("-display", "none", "-serial", "stdio", "-no-reboot")
    guest = subprocess.Popen(
        ["qemu-system-x86_64", *machine, *kernel, *quiet],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert guest.stdout is not None
        return _appears(PROOF, guest.stdout.fileno(), time.monotonic() + timeout)
    finally:
        guest.kill()
        guest.communicate()


def _appears(proof: bytes, descriptor: int, deadline: float) -> bool:
    seen = b""
    while (left := deadline - time.monotonic()) > 0:
        readable, _, _ = select.select([descriptor], [], [], left)
        if not readable:
            return False
        chunk = os.read(descriptor, 4096)
        if not chunk:
            return False
        seen += chunk
        if proof in seen:
            return True
    return False


def _facts(cpu_model: str) -> dict[str, str]:
    """All on which the answer depends."""
    cpu = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith(("model", "flags"))]
    version = subprocess.run(["qemu-system-x86_64", "--version"], capture_output=True, text=True, check=True)
    return {
        "cpu": hashlib.sha256("\n".join(sorted(set(cpu))).encode()).hexdigest(),
        "cpu_model": cpu_model,
        "kernel": os.uname().release,
        "qemu": version.stdout.splitlines()[0],
    }
