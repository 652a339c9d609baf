"""What a new cloud starts with: flavors, a network, an image. What is there already stays as it is."""

import json
import urllib.request
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from uuid import NAMESPACE_DNS, uuid5

from domain.catalogue import flavor
from domain.catalogue.flavor import Flavor, Flavors
from domain.errors import Refused
from domain.log.kind import Kind
from domain.log.record import AggregateId, Event
from domain.neighbours import network
from domain.neighbours.network import NetworkCreated
from handlers.log.repository import Repository
from ops.roles.plane import Plane, open_plane
from ops.settings import Settings

FLAVORS = (
    Flavor(id="42", name="m1.nano", vcpus=1, ram_mb=128, disk_gb=1),
    Flavor(id="1", name="m1.tiny", vcpus=1, ram_mb=512, disk_gb=1),
    Flavor(id="2", name="m1.small", vcpus=1, ram_mb=2048, disk_gb=20),
    Flavor(id="3", name="m1.medium", vcpus=2, ram_mb=4096, disk_gb=40),
    Flavor(id="4", name="m1.large", vcpus=4, ram_mb=8192, disk_gb=80),
)
"""The sizes that DevStack offers, under the same ids."""
NETWORK = NetworkCreated(
    network_id=str(uuid5(NAMESPACE_DNS, "private.network.lightcurve")),
    subnet_id=str(uuid5(NAMESPACE_DNS, "private.subnet.lightcurve")),
    name="private",
    project_id="",
    cidr="10.20.0.0/20",
    shared=True,
)
IMAGE = "tiny"
TIMEOUT = 30.0


async def seed(settings: Settings, project_id: str) -> None:
    """Flavors and network, straight into the log."""
    async with open_plane(settings, "seed") as plane:
        for offered in FLAVORS:
            await _execute(plane, flavor.KIND, flavor.CATALOGUE, partial(_offer, offered))
        created = NetworkCreated(
            network_id=NETWORK.network_id,
            subnet_id=NETWORK.subnet_id,
            name=NETWORK.name,
            project_id=project_id,
            cidr=NETWORK.cidr,
            shared=True,
        )
        aggregate = network.aggregate(created.network_id)
        await _execute(plane, network.KIND, aggregate, lambda known: network.create(known, created))


def _offer(offered: Flavor, flavors: Flavors | None) -> Event:
    return flavor.create(flavors or Flavors(), offered)


async def _execute(plane: Plane, kind: Kind[Any], aggregate: AggregateId, decide: Callable[[Any], Event]) -> None:
    repository: Repository[Any] = Repository(kind, plane.api_store, plane.stamp)
    try:
        await repository.execute(plane.stamp.own_context(), aggregate, decide)
    except Refused as refusal:
        if not refusal.code.endswith(".exists"):
            raise


def upload_image(public_url: str, password: str, file: Path, disk_format: str) -> None:
    """The tiny image, through the image API, unless there is one of its name, or the password is not the first one
    any more."""
    try:
        token = _token(public_url, password)
    except HTTPError as error:
        if error.code != HTTPStatus.UNAUTHORIZED:
            raise
        print("  admin has another password by now: nobody has looked whether the first image is there", flush=True)
        return
    images = json.loads(_call(f"{public_url}/image/v2/images?name={IMAGE}", token).read())["images"]
    if any(image["status"] == "active" for image in images):
        return
    wanted = {"name": IMAGE, "disk_format": disk_format, "container_format": "bare", "visibility": "public"}
    # One that was announced and whose bytes never came is completed.
    image = next((image for image in images if wanted.items() <= image.items()), None)
    if image is None:
        image = json.loads(_call(f"{public_url}/image/v2/images", token, json.dumps(wanted).encode()).read())
    url = f"{public_url}/image/v2/images/{image['id']}/file"
    _call(url, token, file.read_bytes(), "PUT", "application/octet-stream")


def _token(public_url: str, password: str) -> str:
    domain = {"id": "default"}
    user = {"name": "admin", "domain": domain, "password": password}
    auth = {
        "identity": {"methods": ["password"], "password": {"user": user}},
        "scope": {"project": {"name": "admin", "domain": domain}},
    }
    answer = _call(f"{public_url}/identity/v3/auth/tokens", "", json.dumps({"auth": auth}).encode())
    token: str = answer.headers["X-Subject-Token"]
    return token


def _call(
    url: str, token: str, body: bytes | None = None, method: str | None = None, kind: str = "application/json"
) -> Any:
    headers = {"Content-Type": kind, **({"X-Auth-Token": token} if token else {})}
    request = urllib.request.Request(url, data=body, headers=headers, method=method)  # noqa: S310 - our own API
    return urllib.request.urlopen(request, timeout=TIMEOUT)  # noqa: S310
