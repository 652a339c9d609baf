"""Runs a program and reaps what its orphans leave.

A QEMU is nobody's child: when it ends, PID 1 has to take note. In a container PID 1 is often no init and never
does, or late; libvirt then waits for a process that has long ended, and at last says it could not kill it. This
parent stands in for it. It ends with the program, and the program ends with it.
"""

import ctypes
import os
import signal
import subprocess
import sys
from types import FrameType

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def main(argv: list[str]) -> int:
    """Run ``argv`` to its end, pass on SIGTERM and SIGINT, and return its exit status."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    program: subprocess.Popen[bytes] | None = None
    early: list[int] = []

    def forward(number: int, _: FrameType | None) -> None:
        if program is None:
            early.append(number)
        else:
            program.send_signal(number)

    signal.signal(signal.SIGTERM, forward)
    signal.signal(signal.SIGINT, forward)
    # There is one thread here, with which alone code between fork and exec is safe.
    program = subprocess.Popen(argv, preexec_fn=lambda: _prctl(PR_SET_PDEATHSIG, signal.SIGKILL))  # noqa: PLW1509
    for number in early:
        program.send_signal(number)
    while True:
        pid, status = os.wait()
        if pid == program.pid:
            code = os.waitstatus_to_exitcode(status)
            program.returncode = code
            return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
