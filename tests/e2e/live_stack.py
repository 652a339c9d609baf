"""A whole stack of its own: real NATS, PostgreSQL, libvirt and QEMU, driven as a user drives it."""

import json
import os
import socket
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from tests.waiting import wait_until

CACHE = Path.home() / ".cache" / "lightcurve"
PROGRAMS = Path(sys.executable).parent
NANO, TINY_IMAGE, NETWORK = "m1.nano", "tiny", "private"


class Answer(NamedTuple):
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class LiveStack:
    """One stack under one directory."""

    def __init__(self, directory: Path, *options: str) -> None:
        """``options`` are for ``up``, beside the ports."""
        self.directory = directory
        self.options = options
        self.ports = ["--nats-port", str(free_port()), "--api-port", str(free_port())]
        self.environment = {**os.environ, "LIGHTCURVE_CACHE_DIR": str(CACHE)}
        self._tokens: dict[str, str] = {}

    def lightcurve(self, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "ops.cli", "--state-dir", str(self.directory), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=check, env=self.environment)

    def up(self) -> None:
        done = self.lightcurve("up", *self.ports, *self.options, check=False)
        assert done.returncode == 0, done.stdout + done.stderr + self.logs()

    def restart(self, config: str) -> None:
        """With another configuration; returns once it is up again."""
        self.lightcurve("down")
        self.config_file.write_text(config)
        self.up()

    @property
    def config_file(self) -> Path:
        return self.directory / "lightcurve.toml"

    def down(self) -> None:
        self.lightcurve("down", "--erase", check=False)

    def logs(self) -> str:
        files = sorted((self.directory / "log").glob("*.log"))
        return "".join(f"\n--- {file.name}\n" + "\n".join(file.read_text().splitlines()[-15:]) for file in files)

    def openstack(self, *arguments: str, cloud: str = "lightcurve", check: bool = True) -> str:
        """The unmodified client; returns what it prints."""
        environment = {
            **self.environment,
            "OS_CLIENT_CONFIG_FILE": str(self.directory / "clouds.yaml"),
            "OS_CLOUD": cloud,
        }
        command = [str(PROGRAMS / "openstack"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert not check or done.returncode == 0, f"openstack {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def openstack_json(self, *arguments: str, cloud: str = "lightcurve") -> Any:
        return json.loads(self.openstack(*arguments, "-f", "json", cloud=cloud))

    # -- the API, where the client would be too slow or too well-behaved -----------------------------------

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports[3]}"

    @property
    def placement_port(self) -> int:
        return int(tomllib.loads(self.config_file.read_text())["placement"]["port"])

    def token(self, user: str = "admin", project: str = "admin") -> str:
        if user not in self._tokens:
            password = (self.directory / "secrets" / f"{user}.password").read_text()
            domain = {"id": "default"}
            who = {"name": user, "domain": domain, "password": password}
            auth = {
                "identity": {"methods": ["password"], "password": {"user": who}},
                "scope": {"project": {"name": project, "domain": domain}},
            }
            answer = self.call("POST", "/identity/v3/auth/tokens", {"auth": auth}, token="")
            assert answer.status == 201, answer
            self._tokens[user] = answer.headers["x-subject-token"]
        return self._tokens[user]

    def forget_tokens(self) -> None:
        """Log in anew from now on."""
        self._tokens.clear()

    def call(self, method: str, path: str, body: Any = None, *, token: str | None = None, **headers: str) -> Answer:
        """One request; ``body`` is JSON unless it is bytes."""
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method)
        request.add_header("Content-Type", "application/json")
        request.add_header("OpenStack-API-Version", "compute 2.100")
        if token != "":
            request.add_header("X-Auth-Token", token or self.token())
        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return Answer(answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, {k.lower(): v for k, v in error.headers.items()}, error.read())

    def create(self, name: str, *, token: str | None = None, **more: Any) -> str:
        """Request a server, as administrator without a ``token``; returns its id."""
        image = self.call("GET", "/image/v2/images?name=tiny").json()["images"][0]["id"]
        network = self.call("GET", "/network/v2.0/networks?name=private").json()["networks"][0]["id"]
        server = {"name": name, "flavorRef": "42", "imageRef": image, "networks": [{"uuid": network}]} | more
        answer = self.call("POST", "/compute/v2.1/servers", {"server": server}, token=token)
        assert answer.status == 202, answer
        server_id: str = answer.json()["server"]["id"]
        return server_id

    def show(self, server_id: str) -> dict[str, Any] | None:
        """The server; None if there is none, or if nobody answers now."""
        try:
            answer = self.call("GET", f"/compute/v2.1/servers/{server_id}")
        except OSError:
            return None
        return answer.json()["server"] if answer.status == 200 else None

    def await_status(self, server_id: str, *wanted: str, seconds: float = 90) -> dict[str, Any]:
        """Wait until the server has one of these statuses, and nothing is under way."""

        def settled() -> dict[str, Any] | None:
            server = self.show(server_id)
            done = server and server["status"] in wanted and server["OS-EXT-STS:task_state"] is None
            return server if done else None

        found: dict[str, Any] = wait_until(settled, seconds, f"server {server_id} is {' or '.join(wanted)}")
        return found

    def delete_all(self) -> None:
        """Delete every server, and wait until they are gone."""
        path = "/compute/v2.1/servers?all_tenants=1"
        for server in self.call("GET", path).json()["servers"]:
            self.call("DELETE", f"/compute/v2.1/servers/{server['id']}")
        wait_until(lambda: not self.call("GET", path).json()["servers"], 60, "all servers are gone")

    # -- its processes --------------------------------------------------------------------------------------

    def pid(self, program: str) -> int:
        state = json.loads((self.directory / "run" / "supervisor.json").read_text())
        return int(state["programs"][program]["pid"])

    def programs(self) -> list[str]:
        return list(json.loads((self.directory / "run" / "supervisor.json").read_text())["programs"])

    def kill(self, program: str) -> None:
        """``kill -9``, and wait until the supervisor has started it again."""
        before = wait_until(lambda: self._running(program), 30, f"{program} runs")
        # libvirtd has parents that watch over it; the program itself is what is killed.
        name = program.partition("-")[0]
        watched = [child for child in before.children(recursive=True) if child.name() == name != before.name()]
        (watched or [before])[0].kill()
        wait_until(lambda: self._running(program) not in (None, before), 30, f"{program} is started again")

    def _running(self, program: str) -> psutil.Process | None:
        try:
            return psutil.Process(self.pid(program))
        except psutil.NoSuchProcess:
            return None
