"""The join token: one string with everything that a host needs to take part, and what a host makes of it."""

import base64
import json
from pathlib import Path

import msgspec

from domain.errors import Invalid, Refused

PREFIX = "lightcurve-host-1."
"""What every token begins with: it names its form."""


class JoinToken(msgspec.Struct, frozen=True, kw_only=True):
    """What a host is told. Whoever has it is the host."""

    host: str
    cell: str
    nats_url: str
    user: str
    password: str
    secret: str
    image_url: str
    metadata_url: str
    nats_ca: str | None = None
    """PEM, if NATS is spoken inside TLS and its authority is not one that everybody knows."""


def encode(token: JoinToken) -> str:
    return PREFIX + base64.urlsafe_b64encode(msgspec.json.encode(token)).decode().rstrip("=")


def decode(text: str) -> JoinToken:
    """The inverse of ``encode``. Raises Invalid."""
    text = text.strip()
    if not text.startswith(PREFIX):
        raise Invalid(f"This is no join token: one begins with {PREFIX} and is printed by: lightcurve host add NAME")
    body = text.removeprefix(PREFIX)
    try:
        return msgspec.json.decode(base64.b64decode(body + "=" * (-len(body) % 4), b"-_"), type=JoinToken)
    except ValueError as error:
        raise Invalid(f"This join token is damaged, or not whole: {error}") from None


def join(token: JoinToken, state_dir: Path) -> Path:
    """Write a host's configuration and its secrets; returns the configuration's file.

    Raises Refused if there is a configuration already.
    """
    config = state_dir.absolute() / "lightcurve.toml"
    if config.exists():
        raise Refused("host.configured", f"There is a configuration already: {config}. Remove it to join anew.")
    secrets_dir = config.parent / "secrets"
    secrets_dir.mkdir(parents=True, exist_ok=True)
    secrets_dir.chmod(0o700)
    files = {"nats.password": token.password, "host.secret": token.secret}
    if token.nats_ca:
        files["nats-ca.pem"] = token.nats_ca
    for name, content in files.items():
        _write_private(secrets_dir / name, content)
    _write_private(config, _config(token, config.parent, secrets_dir))
    return config


def _config(token: JoinToken, state_dir: Path, secrets_dir: Path) -> str:
    quoted = json.dumps  # a JSON string is a TOML string
    ca = [f"ca_file = {quoted(str(secrets_dir / 'nats-ca.pem'))}"] if token.nats_ca else []
    lines = [
        f"# Host {token.host}. Written by `lightcurve host join`; yours to change.",
        f"state_dir = {quoted(str(state_dir))}",
        f"cell = {quoted(token.cell)}",
        "",
        "[nats]",
        f"url = {quoted(token.nats_url)}",
        f"user = {quoted(token.user)}",
        f"password_file = {quoted(str(secrets_dir / 'nats.password'))}",
        *ca,
        "",
        "[metadata]",
        f"url = {quoted(token.metadata_url)}",
        "",
        "[compute]",
        f"host = {quoted(token.host)}",
        f"image_url = {quoted(token.image_url)}",
        f"secret_file = {quoted(str(secrets_dir / 'host.secret'))}",
        "# Where this host's consoles wait for the console proxies; they go to this address only.",
        'console_address = "127.0.0.1"',
    ]
    return "\n".join([*lines, ""])


def _write_private(file: Path, text: str) -> None:
    file.touch(mode=0o600)
    file.write_text(text)
