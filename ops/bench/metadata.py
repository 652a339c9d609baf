"""Metadata requests per second of one process, on the real NATS: ``python -m ops.bench.metadata``.

Servers stand in the log with sealed user data; clients ask, signed, for the documents that cloud-init asks for.
"""

import argparse
import asyncio
import base64
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import psutil

from adapters.metadata import signing
from domain.catalogue.flavor import Flavor
from domain.guest import Nic, PowerState
from domain.log.record import Event
from domain.server.creation import ServerBuilt, ServerPlaced, ServerRequested
from domain.server.fold import KIND
from domain.server.state import Server, aggregate
from handlers.log.repository import Repository
from ops.bench.http import Client
from ops.embedded.nats import EmbeddedNats, NatsProcess, free_port
from ops.embedded.nats_accounts import CONTROL
from ops.roles.plane import open_plane
from ops.settings import load

DOCUMENTS = (
    *("/openstack", "/openstack/2018-08-27/meta_data.json", "/openstack/2018-08-27/user_data"),
    *("/openstack/2018-08-27/vendor_data.json", "/openstack/2018-08-27/vendor_data2.json"),
    *("/openstack/2018-08-27/network_data.json", "/latest/meta-data/", "/latest/meta-data/instance-id"),
)
"""What cloud-init asks for at a first boot."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ops.bench.metadata")
    parser.add_argument("--servers", type=int, default=500)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=5.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lightcurve-bench-") as scratch:
        directory = Path(scratch)
        nats = NatsProcess(EmbeddedNats(directory / "nats", free_port()))
        nats.start()
        try:
            config, secret = _configure(directory, nats.server)
            asyncio.run(_measure(config, secret, arguments))
        finally:
            nats.kill()


def _configure(directory: Path, nats: EmbeddedNats) -> tuple[Path, bytes]:
    secret = secrets.token_urlsafe(32)
    (directory / "secret").write_text(secret)
    (directory / "password").write_text(nats.credentials(CONTROL).password)
    config = directory / "lightcurve.toml"
    lines = (
        f"state_dir = {json.dumps(str(directory))}",
        f'[nats]\nurl = "{nats.url}"\nuser = "{CONTROL}"\npassword_file = {json.dumps(str(directory / "password"))}',
        f"[metadata]\nport = {free_port()}\nshared_secret_file = {json.dumps(str(directory / 'secret'))}",
    )
    config.write_text("\n".join(lines))
    return config, secret.encode()


async def _measure(config: Path, secret: bytes, arguments: argparse.Namespace) -> None:
    settings = load(config)
    async with open_plane(settings, "bench") as plane:
        repository: Repository[Server] = Repository(KIND, plane.store, plane.stamp)
        servers = []
        for number in range(arguments.servers):
            server_id = plane.stamp.ids.uuid()
            user_data = base64.b64encode(os.urandom(2000)).decode()
            sealed = await plane.vault.seal(server_id, json.dumps({"user_data": user_data}).encode())
            address = f"10.{number >> 14 & 255}.{number >> 7 & 127}.{number & 127}"
            for event in _history(server_id, sealed, address):
                await repository.execute(plane.stamp.own_context(), aggregate(server_id), partial(_just, event))
            servers.append((server_id, address))
    command = [sys.executable, "-m", "ops.cli", "run", "metadata", "--config", str(config)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: ASYNC220
    try:
        await _until_it_listens(settings.metadata.port)
        cold = await _burst(settings.metadata.port, secret, servers, arguments.clients, None)
        used = _cpu(process.pid)
        warm = await _burst(settings.metadata.port, secret, servers, arguments.clients, arguments.seconds)
        used = _cpu(process.pid) - used
        memory = psutil.Process(process.pid).memory_info().rss
    finally:
        process.terminate()
        process.wait()
    print(f"{arguments.servers} servers, {arguments.clients} clients, one process")
    for name, (count, seconds, latencies) in (("first boot of all", cold), ("again", warm)):
        print(f"{name + ': requests':40} {count:10}")
        print(f"{name + ': requests per second':40} {count / seconds:10.0f}")
        print(f"{name + ': p50':40} {latencies[len(latencies) // 2] * 1000:10.2f} ms")
        print(f"{name + ': p99':40} {latencies[len(latencies) * 99 // 100] * 1000:10.2f} ms")
    print(f"{'CPU a request':40} {used / warm[0] * 1e6:10.0f} µs")
    print(f"{'resident memory':40} {memory / 1e6:10.0f} MB")


def _history(server_id: str, sealed: str, address: str) -> tuple[ServerRequested, ServerPlaced, ServerBuilt]:
    nic = Nic(
        port_id=server_id,
        network_id="net",
        network_name="private",
        mac_address="fa:16:3e:00:00:01",
        ip_address=address,
        cidr="10.0.0.0/8",
        dhcp_ip="10.0.0.2",
    )
    requested = ServerRequested(
        server_id=server_id,
        name="bench",
        project_id="project",
        user_id="user",
        flavor=Flavor(id="1", name="m1.tiny", vcpus=1, ram_mb=512, disk_gb=1),
        deadline=datetime.now(UTC) + timedelta(minutes=10),
        secrets=sealed,
    )
    placed = ServerPlaced(host="node1", host_id="h1", epoch=1, availability_zone="nova", nics=(nic,))
    return requested, placed, ServerBuilt(epoch=1, power_state=PowerState.RUNNING)


def _just(event: Event, _: Server | None) -> Event:
    return event


async def _burst(
    port: int, secret: bytes, servers: list[tuple[str, str]], clients: int, seconds: float | None
) -> tuple[int, float, list[float]]:
    """Each server's documents in turn: once for all, or for so many seconds."""
    turns = [(server, path) for server in servers for path in DOCUMENTS]
    latencies: list[float] = []
    started = time.perf_counter()
    at = 0

    async def work() -> None:
        nonlocal at
        client = Client("127.0.0.1", port)
        while (seconds is None and at < len(turns)) or (
            seconds is not None and time.perf_counter() - started < seconds
        ):
            (server_id, address), path = turns[at % len(turns)]
            at += 1
            client.headers = {
                signing.INSTANCE_ID: server_id,
                signing.TENANT_ID: "project",
                signing.SIGNATURE: signing.sign(secret, server_id),
                signing.FORWARDED_FOR: address,
            }
            sent = time.perf_counter()
            answer = await client.request("GET", path)
            assert answer.status == 200, answer
            latencies.append(time.perf_counter() - sent)
        client.close()

    await asyncio.gather(*(work() for _ in range(clients)))
    return len(latencies), time.perf_counter() - started, sorted(latencies)


async def _until_it_listens(port: int) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


def _cpu(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    main()
