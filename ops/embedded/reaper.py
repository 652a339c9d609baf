"""Runs a program and reaps what its orphans leave.

A QEMU is nobody's child: when it ends, PID 1 has to take note. In a container PID 1 is often no init and never
does, or late; libvirt then waits for a process that has long ended, and at last says it could not kill it. So a
process stands between: the parent of the program and of all its orphans, which stays as long as any of them lives.

    who started us ── this process, ends with the program ── the parent that stays ── the program ── its orphans

The program ends with this process, and this process with the program.
"""

import ctypes
import os
import signal
import subprocess
import sys
from types import FrameType

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
FORWARDED = (signal.SIGTERM, signal.SIGINT)
LOST = signal.SIGUSR1
"""Tells the parent that stays that this process has gone."""


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def main(argv: list[str]) -> int:
    """Run ``argv`` to its end, pass on SIGTERM and SIGINT, and return its exit status."""
    reading, writing = os.pipe()
    ours = os.getpid()
    # What arrives before there is anybody to pass it on to waits.
    signal.pthread_sigmask(signal.SIG_BLOCK, (*FORWARDED, LOST))
    staying = os.fork()
    if staying == 0:
        os.close(reading)
        try:
            _stay(argv, writing, ours)
        finally:
            os._exit(0)
    os.close(writing)
    for number in FORWARDED:
        signal.signal(number, lambda number, _: os.kill(staying, number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (*FORWARDED, LOST))
    told = os.read(reading, 16)
    code = int(told) if told else 1
    return code if code >= 0 else 128 - code


def _stay(argv: list[str], writing: int, outer: int) -> None:
    """Run the program, tell its exit status, and stay for its orphans."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    _prctl(PR_SET_PDEATHSIG, LOST)
    # There is one thread here, with which alone code between fork and exec is safe.
    program = subprocess.Popen(argv, preexec_fn=_of_program)  # noqa: PLW1509

    def forward(number: int, _: FrameType | None) -> None:
        program.send_signal(signal.SIGKILL if number == LOST else number)

    for number in (*FORWARDED, LOST):
        signal.signal(number, forward)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (*FORWARDED, LOST))
    if os.getppid() != outer:
        program.kill()
    while True:
        try:
            pid, status = os.wait()
        except ChildProcessError:
            return
        if pid == program.pid:
            program.returncode = os.waitstatus_to_exitcode(status)
            os.write(writing, str(program.returncode).encode())
            os.close(writing)
            _let_go()


def _of_program() -> None:
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (*FORWARDED, LOST))


def _let_go() -> None:
    """Hold no file and no directory that somebody may want to remove."""
    os.chdir("/")
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nothing, descriptor)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
