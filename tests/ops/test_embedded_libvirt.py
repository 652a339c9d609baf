"""libvirt started by us, and what is said where it cannot be."""

import grp
import os
import pwd
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from ops.embedded import libvirt, reaper
from ops.embedded.libvirt import EmbeddedLibvirt
from tests.real_libvirt import Daemons
from tests.waiting import wait_until


def test_what_is_missing_is_said_with_its_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libvirt.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(libvirt.shutil, "which", lambda name: None if name.startswith("qemu") else name)
    monkeypatch.setattr(libvirt, "TUN", tmp_path / "absent")
    monkeypatch.setattr(libvirt, "KVM", tmp_path / "absent")
    embedded = EmbeddedLibvirt(tmp_path)
    rights, programs, tun = embedded.problems()
    assert "as root" in rights
    assert programs.endswith("--no-install-recommends qemu-system-x86 qemu-utils")
    assert "/dev/net/tun" in tun
    assert "TCG" in embedded.notices()[0]


def test_a_daemon_of_the_machine_that_is_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libvirt, "SYSTEMD", tmp_path)
    monkeypatch.setattr(libvirt, "libvirtd_answers", lambda: False)
    monkeypatch.setattr(libvirt.shutil, "which", lambda name: name)
    assert "systemctl start libvirtd" in EmbeddedLibvirt(tmp_path).problems()[0]


def test_a_state_directory_that_guests_cannot_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libvirt, "SYSTEM_CONFIG", tmp_path)
    monkeypatch.setattr(libvirt, "libvirtd_answers", lambda: True)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    embedded = EmbeddedLibvirt(closed / "libvirt")
    assert embedded.problems() == []
    monkeypatch.setattr(libvirt, "SYSTEMD", tmp_path)
    (said,) = embedded.problems()
    assert "chmod o+x" in said
    (tmp_path / "qemu.conf").write_text('user = "root"\n')
    assert embedded.problems() == []


def test_screens_by_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = False
    monkeypatch.setattr(libvirt, "SYSTEM_CONFIG", tmp_path)
    monkeypatch.setattr(libvirt, "libvirtd_answers", lambda: answers)
    monkeypatch.setattr(libvirt, "_problems", lambda: iter(()))
    (tmp_path / "tls").mkdir()
    embedded = EmbeddedLibvirt(tmp_path / "state", tmp_path / "tls")
    for name in ("ca-cert.pem", "server-cert.pem", "server-key.pem"):
        (missing,) = embedded.problems()
        assert name in missing
        (tmp_path / "tls" / name).touch()
    assert embedded.problems() == []
    embedded.programs()
    told = (tmp_path / "state" / "qemu.conf").read_text()
    assert told.startswith(libvirt._qemu_conf(embedded._why_root()))
    assert f'vnc_tls_x509_verify = 1\nspice_tls = 1\nspice_tls_x509_cert_dir = "{tmp_path}/tls"\n' in told
    EmbeddedLibvirt(tmp_path / "state").programs()
    assert (tmp_path / "state" / "qemu.conf").read_text() == libvirt._qemu_conf(embedded._why_root())


def test_a_libvirtd_that_is_not_ours_shows_screens_in_the_clear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(libvirt, "SYSTEM_CONFIG", tmp_path)
    monkeypatch.setattr(libvirt, "libvirtd_answers", lambda: True)
    monkeypatch.setattr(libvirt, "_problems", lambda: iter(()))
    for name in ("ca-cert.pem", "server-cert.pem", "server-key.pem"):
        (tmp_path / name).touch()
    config, embedded = tmp_path / "qemu.conf", EmbeddedLibvirt(tmp_path / "state", tmp_path)
    for half in (None, "vnc_tls = 1\n", "vnc_tls = 1\n#vnc_tls_x509_verify = 1\nspice_tls = 1\n"):
        if half:
            config.write_text(half)
        (problem,) = embedded.problems()
        assert "vnc_tls = 1, vnc_tls_x509_verify = 1, spice_tls = 1" in problem
        assert str(config) in problem
    config.write_text("vnc_tls = 1\nvnc_tls_x509_verify = 1\nspice_tls = 1\n")
    assert embedded.problems() == []


def test_qemu_is_root_only_where_it_must_be_and_it_is_said_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    me, mine = pwd.getpwuid(65534).pw_name, grp.getgrgid(65534).gr_name
    monkeypatch.setattr(libvirt, "libvirtd_answers", lambda: False)
    monkeypatch.setattr(libvirt, "SYSTEM_CONFIG", tmp_path)
    monkeypatch.setattr(libvirt, "QEMU_USER", me)
    monkeypatch.setattr(libvirt, "QEMU_GROUP", mine)
    monkeypatch.setattr(libvirt, "KVM", tmp_path / "kvm")
    state = Path("/srv/lightcurve-that-is-not-there")
    embedded = EmbeddedLibvirt(state / "libvirt")
    assert embedded._why_root() == ""
    assert f'user = "{me}"' in libvirt._qemu_conf("")
    assert "dynamic_ownership = 1" in libvirt._qemu_conf("")
    (tmp_path / "kvm").touch(mode=0o600)
    (said,) = embedded.notices()
    assert "QEMU runs as root" in said
    assert f"chgrp {mine}" in said
    assert 'user = "root"' in libvirt._qemu_conf(said)
    os.chown(tmp_path / "kvm", -1, 65534)
    (tmp_path / "kvm").chmod(0o660)
    assert embedded.notices() == []
    tmp_path.chmod(0o700)
    assert "chmod o+x" in EmbeddedLibvirt(tmp_path / "libvirt")._why_root()
    monkeypatch.setattr(libvirt, "QEMU_USER", "nobody-of-this-name")
    assert "there is no user" in embedded._why_root()


@pytest.mark.libvirt
def test_what_runs_is_not_started_again_and_no_file_is_changed(tmp_path: Path, libvirtd: Daemons) -> None:
    if libvirtd.ours:
        assert "dynamic_ownership = 0" not in Path("/etc/libvirt/qemu.conf").read_text().splitlines()
    assert EmbeddedLibvirt(tmp_path).programs() == []
    assert list(tmp_path.iterdir()) == []


def run_reaper(script: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-P", reaper.__file__, "sh", "-c", script]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
    return False


def test_orphans_are_reaped() -> None:
    """The orphan ends while its reaper goes on: no trace of it may stay."""
    script = "(sh -c 'exec sh -c \"exit 0\"' & echo $!); read line; exit 3"
    with subprocess.Popen(
        [sys.executable, "-P", reaper.__file__, "sh", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        orphan = Path(f"/proc/{process.stdout.readline().strip()}")
        deadline = time.monotonic() + 5
        while orphan.exists() and time.monotonic() < deadline:
            pass
        assert not orphan.exists()
        process.communicate("\n")
        assert process.returncode == 3


def test_orphans_are_reaped_though_the_program_has_ended() -> None:
    """As a guest is that goes on running while libvirtd is down."""
    script = "(sh -c 'exec tail -f /dev/null' >/dev/null 2>&1 & echo $!); exit 3"
    with run_reaper(script) as process:
        assert process.stdout is not None
        orphan = psutil.Process(int(process.stdout.readline()))
        # Nobody who waits for the program's output waits for its orphans.
        assert process.stdout.read() == ""
        assert process.wait(10) == 3
    assert orphan.is_running()
    staying = orphan.parent()
    assert staying is not None
    assert "reaper" in " ".join(staying.cmdline())
    wait_until(lambda: Path(f"/proc/{staying.pid}/cwd").readlink() == Path("/"), 5)
    orphan.kill()
    assert gone(staying.pid)
    assert gone(orphan.pid)


def test_a_program_that_hangs_ends_with_its_reaper() -> None:
    with run_reaper("echo $$; exec tail -f /dev/null") as process:
        assert process.stdout is not None
        program = int(process.stdout.readline())
        os.kill(program, signal.SIGSTOP)
        process.kill()
        process.wait(10)
        assert gone(program)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 128 + 15), (signal.SIGKILL, -9)])
def test_a_reaper_and_its_program_end_together(number: signal.Signals, status: int) -> None:
    with run_reaper("echo $$; exec tail -f /dev/null") as process:
        assert process.stdout is not None
        program = int(process.stdout.readline())
        os.kill(process.pid, number)
        assert process.wait(10) == status
        assert gone(program)
