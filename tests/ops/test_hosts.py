"""Hosts' credentials: made, handed over in a token, and taken away."""

from pathlib import Path

import pytest

from domain.errors import Invalid, Refused
from ops.embedded.nats import free_port
from ops.host_keys import HostKeys
from ops.joining import PREFIX, JoinToken, decode, encode, join
from ops.settings import load
from ops.stack import Stack

TOKEN = JoinToken(
    host="node1.example.com",
    cell="cell1",
    nats_url="tls://nats:4222",
    user="host-node1",
    password="p",
    secret="s",
    image_url="https://cloud/image",
    metadata_url="https://cloud:8775",
    nats_ca="-----BEGIN CERTIFICATE-----\n",
)


def test_each_host_has_its_own(tmp_path: Path) -> None:
    keys = HostKeys(tmp_path / "hosts")
    assert list(keys) == []
    one, two = keys.add("node1.example.com"), keys.ensure("node2")
    assert [key.name for key in keys] == ["node1.example.com", "node2"]
    secrets = {one.credentials.password, two.credentials.password, one.secret.decode(), two.secret.decode()}
    assert len(secrets) == 4
    assert all(len(secret) >= 40 for secret in secrets)
    for path in (tmp_path / "hosts").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    before = one.credentials, one.secret
    assert (keys.ensure("node1.example.com").credentials, keys.secret("node1.example.com")) == before
    with pytest.raises(Refused, match="--renew"):
        keys.add("node1.example.com")
    renewed = keys.add("node1.example.com", renew=True)
    assert {renewed.credentials, renewed.secret}.isdisjoint(before)
    keys.remove("node2")
    assert keys.secret("node2") is None
    with pytest.raises(Refused):
        keys.remove("node2")


@pytest.mark.parametrize("name", ["", "a/b", "../x", "a\n", "a b", "*", "x" * 200, "é", "sim-0001", "a" + ".b" * 40])
def test_what_can_be_no_host(tmp_path: Path, name: str) -> None:
    keys = HostKeys(tmp_path / "hosts")
    with pytest.raises(Invalid):
        keys.add(name)
    assert keys.secret(name) is None
    assert not (tmp_path / "hosts").exists()


def test_a_host_joins_by_its_token(tmp_path: Path) -> None:
    text = encode(TOKEN)
    assert decode(f" {text}\n") == TOKEN
    config = join(decode(text), tmp_path / "host")
    settings = load(config)
    assert settings.compute.name == TOKEN.host
    assert settings.nats.password_file
    assert settings.nats.password_file.read_text() == "p"
    assert settings.compute.secret_file
    assert settings.compute.secret_file.read_text() == "s"
    assert settings.nats.ca_file
    assert settings.nats.ca_file.read_text() == TOKEN.nats_ca
    assert (settings.nats.url, settings.nats.user, settings.cell) == (TOKEN.nats_url, TOKEN.user, TOKEN.cell)
    assert (settings.compute.image_url, settings.metadata.url) == (TOKEN.image_url, TOKEN.metadata_url)
    for file in (config, *(tmp_path / "host" / "secrets").iterdir()):
        assert file.stat().st_mode & 0o077 == 0, file
    with pytest.raises(Refused):
        join(TOKEN, tmp_path / "host")


@pytest.mark.parametrize(
    "text", ["", "nonsense", PREFIX, f"{PREFIX}x", f"{PREFIX}é", f"{PREFIX}e30", PREFIX + "A" * 99]
)
def test_what_is_no_token(text: str) -> None:
    with pytest.raises(Invalid, match="join token"):
        decode(text)


def test_a_stack_of_the_time_of_the_common_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = Stack(tmp_path / "state")
    stack.set_up(nats_port=free_port(), api_port=free_port())
    password = stack.directory / "secrets" / "compute.password"
    password.write_text("old")
    lines = [line for line in stack.config_file.read_text().splitlines() if not line.startswith("ticket_key_file")]
    old = [
        "", "[[identity.users]]", 'name = "compute"', 'password_hash = "scrypt$x"', "[identity.users.roles]",
        'service = ["service", "reader"]',
    ]  # fmt: skip
    of_compute = lines.index("[compute]") + 1
    lines[of_compute:of_compute] = ['user = "compute"', f'password_file = "{password}"']
    stack.config_file.write_text("\n".join([*lines, *old]))
    stack.set_up()
    settings = stack.settings()
    monkeypatch.setattr(stack.postgres, "prepare", lambda: None)
    stack.prepare(settings)
    programs = {program.name: program for program in stack.programs(settings, with_libvirt=True)}
    key = stack.host_keys.get(settings.compute.name)
    assert key
    assert programs["compute"].environment == {
        "LIGHTCURVE_NATS_USER": key.credentials.user,
        "LIGHTCURVE_NATS_PASSWORD_FILE": str(key.password_file),
        "LIGHTCURVE_COMPUTE_SECRET_FILE": str(key.secret_file),
    }
    for name in ("conductor", "api-1"):
        file = Path(programs[name].environment["LIGHTCURVE_API_TICKET_KEY_FILE"])
        assert len(file.read_text()) >= 40
    config = stack.nats(settings).config.read_text()
    assert key.credentials.password in config
    assert "COMPUTE" not in config
