"""The builder of the tiny guest. That its image boots is shown by the tests of guests' lives."""

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ops.embedded import virt_type
from ops.embedded.virt_type import probe_virt_type
from ops.guest_image import BuildError, build_tiny, kernel, tiny_image, tools
from ops.guest_image.initramfs import Archive
from tests.real_libvirt import IMAGE_CACHE


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache that has the kernel's package already, and nothing else."""
    tiny_image(IMAGE_CACHE)
    shutil.copytree(IMAGE_CACHE / "kernel", tmp_path / "kernel")
    return tmp_path


def parts(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir())


@pytest.mark.libvirt
def test_built_once_by_whoever_comes_first(cache: Path) -> None:
    found: list[Path] = []
    builders = [threading.Thread(target=lambda: found.append(build_tiny(cache))) for _ in range(3)]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join()
    assert len(set(found)) == 1
    (disk,) = set(found)
    inode = disk.stat().st_ino
    assert build_tiny(cache).stat().st_ino == inode
    assert disk.stat().st_size < 40_000_000
    info = json.loads(
        subprocess.run(["qemu-img", "info", "--output=json", disk], capture_output=True, check=True).stdout
    )
    assert info["format"] == "qcow2"
    assert "backing-filename" not in info


@pytest.mark.libvirt
def test_built_anew_when_an_input_changes(cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first = build_tiny(cache)
    scripts = tmp_path / "scripts"
    shutil.copytree(Path(kernel.__file__).parent / "root", scripts)
    (scripts / "etc" / "motd").write_text("welcome\n")
    monkeypatch.setattr("ops.guest_image.build.SCRIPTS", scripts)
    killed = cache / ".build-of-a-killed-builder"
    killed.mkdir()
    second = build_tiny(cache)
    assert first != second
    assert not first.exists()
    assert not killed.exists()
    assert second.exists()


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "MBR_CODE", tmp_path / "absent")
    monkeypatch.setattr(tools.shutil, "which", lambda name: None if name in {"mcopy", "syslinux"} else f"/bin/{name}")
    with pytest.raises(BuildError, match="install mtools syslinux syslinux-common"):
        build_tiny(tmp_path / "cache")


def test_a_failed_step_is_named(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"fill file system: mcopy failed: .*absent"):
        tools.run("fill file system", "mcopy", "-i", tmp_path / "absent", "x", "::/x")
    (tmp_path / "kernel").mkdir()
    (tmp_path / "kernel" / "broken.deb").write_bytes(b"no package")
    with pytest.raises(BuildError, match="unpack kernel"):
        build_tiny(tmp_path)
    assert parts(tmp_path) == [".lock", "kernel"]
    with pytest.raises(BuildError, match="File exists"):
        build_tiny(tmp_path / "kernel" / "broken.deb")


def test_no_kernel_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(kernel, "KERNELS", ("linux-image-of-dreams",))
    with pytest.raises(BuildError, match="linux-image-of-dreams; run apt-get update"):
        kernel.fetch_packages(tmp_path / "kernel")


def test_the_archive_is_one_that_others_read(tmp_path: Path) -> None:
    archive = Archive()
    archive.file("a/b/script", b"#!/bin/sh\n", 0o755)
    archive.link("a/link", "b/script")
    archive.directory("a/b")
    (tmp_path / "archive").write_bytes(archive.finished())
    subprocess.run("busybox cpio -i < archive", shell=True, cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "a" / "link").read_text() == "#!/bin/sh\n"
    assert os.access(tmp_path / "a" / "b" / "script", os.X_OK)


def test_the_command(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "ops.guest_image", "/dev/null/nowhere"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "The guest image cannot be built: Not a directory: /dev/null/nowhere\n"


@pytest.mark.libvirt
def test_how_guests_run_is_found_out_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = tiny_image(IMAGE_CACHE)
    boots: list[bool] = []

    def boot(*_: object) -> bool:
        boots.append(True)
        return works

    monkeypatch.setattr(virt_type, "_boots_under_kvm", boot)
    monkeypatch.setattr(virt_type, "KVM", tmp_path)
    works = True
    assert probe_virt_type(tmp_path, image) == "kvm"
    works = False
    assert probe_virt_type(tmp_path, image) == "kvm"
    assert probe_virt_type(tmp_path, image, cpu_model="Nehalem") == "qemu"
    (tmp_path / "virt-type.json").write_text("{}")
    assert probe_virt_type(tmp_path, image) == "qemu"
    assert len(boots) == 3
    monkeypatch.setattr(virt_type, "KVM", tmp_path / "absent")
    assert probe_virt_type(tmp_path / "new", image) == "qemu"
    assert len(boots) == 3


@pytest.mark.libvirt
def test_the_proof_is_a_kernel_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shown with emulation, which works everywhere; and that a guest which says nothing proves nothing."""
    image = tiny_image(IMAGE_CACHE)
    monkeypatch.setattr(virt_type, "ACCELERATOR", "tcg")
    assert virt_type._boots_under_kvm(image, "Nehalem", 30.0)
    assert not virt_type._boots_under_kvm(image, "Nehalem", 0.2)
    assert not virt_type._boots_under_kvm(image, "no-such-model", 30.0)
