"""What keeps a stack from starting is said in plain words."""

import os
import socket
from pathlib import Path

import pytest

from adapters.disk_space import Space
from domain.errors import Unavailable
from ops import cli
from ops import stack as stack_module
from ops.embedded.nats import free_port
from ops.settings import load
from ops.stack import Stack
from ops.supervisor import Program


def _stack(tmp_path: Path) -> Stack:
    stack = Stack(tmp_path / "state")
    stack.set_up(nats_port=free_port(), api_port=free_port())
    return stack


def test_nothing_is_wrong(tmp_path: Path) -> None:
    stack = _stack(tmp_path)
    assert stack.problems(stack.settings(), with_libvirt=False) == []


def test_a_taken_port(tmp_path: Path) -> None:
    stack = _stack(tmp_path)
    settings = stack.settings()
    with socket.socket() as other:
        other.bind(("127.0.0.1", settings.api.port))
        other.listen()
        (problem,) = stack.problems(settings, with_libvirt=False)
    assert f"Port {settings.api.port} is taken" in problem
    assert "[api] port" in problem


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = _stack(tmp_path)
    monkeypatch.setattr(stack_module, "space", lambda _: Space(free=50 << 20, total=4000 << 20))
    (problem,) = stack.problems(stack.settings(), with_libvirt=False)
    assert problem.startswith("Only 50 MiB are free")
    assert "more than 200 are needed" in problem


def test_setting_up_again_changes_nothing(tmp_path: Path) -> None:
    stack = _stack(tmp_path)
    before = {file: file.read_bytes() for file in stack.directory.rglob("*") if file.is_file()}
    stack.set_up()
    assert {file: file.read_bytes() for file in before} == before


def test_secrets_are_for_their_owner_alone(tmp_path: Path) -> None:
    stack = _stack(tmp_path)
    for name in ("lightcurve.toml", "openrc", "clouds.yaml", "secrets/admin.password", "secrets/token.key"):
        assert (stack.directory / name).stat().st_mode & 0o077 == 0, name


def test_an_older_state_directory_is_closed_to_others(tmp_path: Path) -> None:
    stack = _stack(tmp_path)
    for name in ("log", "images", "run", "cache", "secrets"):
        (stack.directory / name).chmod(0o755)
    stack.set_up()
    for name in ("log", "images", "run", "cache", "secrets"):
        assert (stack.directory / name).stat().st_mode & 0o077 == 0, name
    assert stack.directory.stat().st_mode & 0o777 == 0o711


def test_whatever_the_command_makes_is_nobody_elses_to_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["lightcurve", "--state-dir", str(tmp_path), "status"])
    before = os.umask(0o022)
    try:
        with pytest.raises(SystemExit, match="no stack runs"):
            cli.main()
        (tmp_path / "new").touch()
        assert (tmp_path / "new").stat().st_mode & 0o077 == 0
    finally:
        os.umask(before)


def test_a_stack_beside_another_has_its_ports_together(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "state")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        api_port = other.getsockname()[1] - 1
        stack.set_up(nats_port=api_port + 2, api_port=api_port)
        settings = stack.settings()
        ports = [settings.placement.port, settings.metadata.port, settings.console.port]
        assert ports == sorted(set(ports))
        assert not {api_port, api_port + 1, api_port + 2} & set(ports)
        assert ports[0] > api_port
    with pytest.raises(Unavailable, match="--api-port"):
        Stack(tmp_path / "other").set_up(api_port=65_535)


def test_a_configuration_older_than_the_metadata_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = _stack(tmp_path)
    named = stack.settings().metadata.shared_secret_file
    assert all(not program.environment for program in _of(stack, "metadata"))
    lines = stack.config_file.read_text().splitlines()
    stack.config_file.write_text("\n".join(line for line in lines if not line.startswith("shared_secret_file")))
    for program in _of(stack, "metadata", "compute"):
        for name, value in program.environment.items():
            monkeypatch.setenv(name, value)
        assert load(stack.config_file).metadata.shared_secret_file == named


def _of(stack: Stack, *names: str) -> list[Program]:
    return [program for program in stack.programs(stack.settings(), with_libvirt=True) if program.name in names]
