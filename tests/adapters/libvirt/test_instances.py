"""A guest's files when a move within its host is cut off between any two of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from adapters.libvirt.instances import ASIDE, DISK, Instances
from adapters.libvirt.shared_disks import SharedDisks
from tests.real_libvirt import guest_spec

SPEC = guest_spec(None)
MOVED = replace(SPEC, epoch=2)
ME = SPEC.server_id
FILES = {"disk.qcow2": "as it was", "config-drive.img": "as it was"}


class CutOff(Exception):
    """The power is gone."""


@pytest.fixture(params=["of its own", "shared"])
def instances(tmp_path: Path, request: pytest.FixtureRequest) -> Instances:
    """A guest that was given, and is about to be moved within its host."""
    shared = SharedDisks(tmp_path / "shared", "node1") if request.param == "shared" else None
    made = Instances(tmp_path / "here", shared)
    made.save(SPEC)
    made.place(SPEC)
    for name, content in FILES.items():
        (made.directory(ME) / name).write_text(content)
    made.give(ME)
    return made


def moved(instances: Instances) -> None:
    """It is here as what it shall be, and beside as what it was."""
    instances.set_aside(ME)
    instances.save(MOVED)
    instances.place(MOVED)
    instances.disk(ME).write_text("another")
    (instances.directory(ME) / "rescue.qcow2").write_text("another")


def disks(instances: Instances) -> list[str]:
    """The contents of all of the guest's disks, wherever they are."""
    root = instances.directory(ME).parent.parent
    return [path.read_text() for path in root.rglob("disk*.qcow2") if not path.is_symlink()]


def as_it_was(instances: Instances) -> bool:
    directory = instances.directory(ME)
    found = {name: (directory / name).read_text() for name in FILES}
    assert len(disks(instances)) == 1
    return (instances.load(ME), found, instances.is_given(ME), (directory / ASIDE).exists()) == (
        SPEC, FILES, True, False,
    )  # fmt: skip


def cut_off(monkeypatch: pytest.MonkeyPatch, work: Callable[[], None], after: int) -> bool:
    """Do it, but for what comes after so many changes of files; False if it came to its end."""
    left = after

    def counted(change: Callable[..., Any]) -> Callable[..., Any]:
        def changed(*arguments: Any, **options: Any) -> Any:
            nonlocal left
            if not left:
                raise CutOff
            left -= 1
            return change(*arguments, **options)

        return changed

    with monkeypatch.context() as patch:
        for name in ("replace", "unlink", "mkdir", "rmdir"):
            patch.setattr(Path, name, counted(getattr(Path, name)))
        try:
            work()
        except CutOff:
            return True
    return False


@pytest.mark.parametrize("after", range(12))
def test_what_was_set_aside_comes_back_whatever_was_cut_off(
    instances: Instances, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    cut_off(monkeypatch, lambda: instances.set_aside(ME), after)
    instances.put_back(ME)
    assert as_it_was(instances)
    moved(instances)
    for _ in range(2):
        cut_off(monkeypatch, lambda: instances.put_back(ME), after)
    instances.put_back(ME)
    assert as_it_was(instances)


@pytest.mark.parametrize("after", range(5))
def test_what_was_forgotten_never_comes_back(
    instances: Instances, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    moved(instances)
    assert cut_off(monkeypatch, lambda: instances.discard_aside(ME), after) or after
    if instances.aside(ME):
        instances.discard_aside(ME)
    instances.forget(ME)
    instances.put_back(ME)
    assert instances.load(ME) == MOVED
    assert disks(instances) == ["another"]
    assert (instances.directory(ME) / DISK).read_text() == "another"
    assert not [path for path in instances.directory(ME).iterdir() if path.is_dir()]
