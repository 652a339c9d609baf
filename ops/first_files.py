"""What a new stack is given: its first configuration, and the files that its clients read."""

import itertools
import json
import socket
import sys
from pathlib import Path

from adapters.rest.identity.passwords import hash_password
from domain.errors import Unavailable
from ops.embedded.nats_accounts import CONTROL
from ops.settings import Settings

NATS_PORT = 14222
API_PORT, METADATA_PORT, PLACEMENT_PORT, CONSOLE_PORT = 8774, 8775, 8778, 6080
USERS: dict[str, dict[str, tuple[str, ...]]] = {
    "admin": {"admin": ("admin", "member", "reader"), "demo": ("admin", "member", "reader")},
    "demo": {"demo": ("member", "reader")},
}
"""Who there is at first, with the roles held by project."""
METADATA_SECRET, TICKET_KEY = "metadata.secret", "tickets.key"


def first_config(
    directory: Path,
    database_url: str,
    passwords: dict[str, str],
    *,
    nats_port: int,
    api_port: int,
    simulated_hosts: int = 0,
) -> str:
    """What ``lightcurve.toml`` says at first. Raises Unavailable if there are no free ports."""
    url = f"http://127.0.0.1:{api_port}"
    quoted = json.dumps  # a JSON string is a TOML string
    secrets_dir = directory / "secrets"
    if api_port == API_PORT:
        placement_port, metadata_port, console_port = PLACEMENT_PORT, METADATA_PORT, CONSOLE_PORT
    else:
        # A stack beside the usual one has all of its ports together.
        placement_port, metadata_port, console_port = _free_above(api_port, 3, but=nats_port)
    lines = [
        "# Lightcurve, all in one. Written once by `lightcurve up`; yours to change.",
        f"state_dir = {quoted(str(directory))}",
        'cell = "cell1"',
        "",
        "[nats]",
        f'url = "nats://127.0.0.1:{nats_port}"',
        f"user = {quoted(CONTROL)}",
        f"password_file = {quoted(str(directory / 'nats' / f'{CONTROL}.password'))}",
        "",
        "[database]",
        f"url = {quoted(database_url)}",
        "",
        "[api]",
        f"port = {api_port}",
        f"public_url = {quoted(url)}",
        f"ticket_key_file = {quoted(str(secrets_dir / TICKET_KEY))}",
        "",
        "[placement]",
        f"port = {placement_port}",
        f'public_url = "http://127.0.0.1:{placement_port}"',
        "",
        "[metadata]",
        f"port = {metadata_port}",
        f'url = "http://127.0.0.1:{metadata_port}"',
        f"shared_secret_file = {quoted(str(secrets_dir / METADATA_SECRET))}",
        "",
        "[console]",
        f"port = {console_port}",
        f'public_url = "http://127.0.0.1:{console_port}"',
        "",
        "[compute]",
        f"image_url = {quoted(url + '/image')}",
        "",
        "[identity]",
        'projects = ["admin", "demo", "service"]',
        f"token_key_file = {quoted(str(secrets_dir / 'token.key'))}",
    ]
    if simulated_hosts:
        lines += ["", "[simulated]", f"hosts = {simulated_hosts}"]
    for user, roles in USERS.items():
        lines += ["", "[[identity.users]]", f"name = {quoted(user)}"]
        lines += [f"password_hash = {quoted(hash_password(passwords[user]))}", "[identity.users.roles]"]
        lines += [f"{project} = {quoted(list(names))}" for project, names in roles.items()]
    return "\n".join([*lines, ""])


def write_client_files(directory: Path, passwords: dict[str, str], settings: Settings) -> None:
    """``openrc`` and ``clouds.yaml``: what the clients need to know."""
    auth_url = f"{settings.api.public_url}/identity/v3"
    clouds = []
    for cloud, user, project in (("lightcurve", "admin", "admin"), ("lightcurve-demo", "demo", "demo")):
        clouds.append(
            f"  {cloud}:\n    auth:\n      auth_url: {auth_url}\n      username: {user}\n"
            f"      password: {json.dumps(passwords[user])}\n      project_name: {project}\n"
            f"      user_domain_id: default\n      project_domain_id: default\n"
            f"    region_name: {settings.api.region}\n"
        )
    write_private(directory / "clouds.yaml", "clouds:\n" + "".join(clouds))
    exports = {
        "OS_AUTH_URL": auth_url,
        "OS_USERNAME": "admin",
        "OS_PASSWORD": passwords["admin"],
        "OS_PROJECT_NAME": "admin",
        "OS_USER_DOMAIN_ID": "default",
        "OS_PROJECT_DOMAIN_ID": "default",
        "OS_REGION_NAME": settings.api.region,
        "OS_IDENTITY_API_VERSION": "3",
        "LIGHTCURVE_STATE_DIR": str(directory),
    }
    lines = [f"export {name}='{value}'" for name, value in exports.items()]
    programs = Path(sys.executable).parent
    lines.append(f'case ":$PATH:" in *":{programs}:"*) ;; *) export PATH=\'{programs}\':"$PATH" ;; esac')
    write_private(directory / "openrc", "\n".join([*lines, ""]))


def write_private(file: Path, text: str) -> None:
    file.touch(mode=0o600)
    file.write_text(text)


def _free_above(port: int, count: int, *, but: int) -> list[int]:
    """The next free ports. Raises Unavailable if there are not so many."""
    above = (candidate for candidate in range(port + 1, 65_536) if candidate != but and not taken(candidate))
    found = list(itertools.islice(above, count))
    if len(found) < count:
        raise Unavailable(f"There are not {count} free ports above {port}: choose another --api-port.")
    return found


def taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False
