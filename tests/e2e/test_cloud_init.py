"""The real cloud-init in an ordinary Debian: by the metadata service and by config drive. Takes minutes under TCG."""

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.guest_image.full import full_image
from tests.e2e.guests import await_console, in_namespace, make_key, namespace_of
from tests.e2e.live_stack import CACHE, LiveStack, wait_until

pytestmark = [pytest.mark.long, pytest.mark.libvirt]

FLAVOR = {"name": "cloud", "id": "cloud", "vcpus": 2, "ram": 1024, "disk": 3}
LOGIN_SECONDS = 400
USER_DATA = """#cloud-config
timezone: Asia/Tokyo
write_files:
- path: /root/from-the-user
  content: hello from the user
"""
VENDOR_DATA = """#cloud-config
timezone: Europe/Berlin
runcmd:
- [sh, -c, 'echo hello > /root/from-the-vendor']
"""


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStack]:
    """A stack whose operator has something for every guest, and the image."""
    directory = tmp_path_factory.mktemp("cloud")
    vendor = directory / "vendor.json"
    vendor.write_text(json.dumps({"cloud-init": VENDOR_DATA}))
    live = LiveStack(directory / "stack")
    live.environment["LIGHTCURVE_METADATA_VENDOR_DATA_FILE"] = str(vendor)
    image = full_image(CACHE / "guest-image")
    try:
        live.up()
        wanted = {"name": "full", "disk_format": "qcow2", "container_format": "bare", "visibility": "public"}
        made = live.call("POST", "/image/v2/images", wanted).json()["id"]
        command = ["curl", "-sf", "-X", "PUT", "-T", str(image), "-H", f"X-Auth-Token: {live.token()}"]
        url = f"{live.url}/image/v2/images/{made}/file"
        subprocess.run([*command, "-H", "Content-Type: application/octet-stream", url], check=True)
        live.call("POST", "/compute/v2.1/flavors", {"flavor": FLAVOR})
        yield live
    finally:
        live.down()


@pytest.mark.parametrize("config_drive", [False, True], ids=["metadata-service", "config-drive"])
def test_first_boot(cloud: LiveStack, tmp_path: Path, config_drive: bool) -> None:
    key = make_key(tmp_path)
    public = key.with_suffix(".pub").read_text().strip()
    cloud.call("POST", "/compute/v2.1/os-keypairs", {"keypair": {"name": "me", "public_key": public}})
    image = cloud.call("GET", "/image/v2/images?name=full").json()["images"][0]["id"]
    user_data = base64.b64encode(USER_DATA.encode()).decode()
    server = cloud.create(
        "real-one", imageRef=image, flavorRef="cloud", key_name="me", user_data=user_data, config_drive=config_drive
    )
    try:
        shown = cloud.await_status(server, "ACTIVE")
        address = shown["addresses"]["private"][0]["addr"]
        namespace = namespace_of(cloud, server)

        def ssh(command: str, *, check: bool = True) -> str:
            said = "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "ConnectTimeout=5", "LogLevel=ERROR"
            options = [word for option in said for word in ("-o", option)]
            target = f"debian@{address}"
            return in_namespace(namespace, "ssh", *options, "-i", str(key), target, command, check=check)

        await_console(cloud, server, "login:", LOGIN_SECONDS)
        wait_until(lambda: "status: " in (said := ssh("cloud-init status", check=False)) and "running" not in said,
                   LOGIN_SECONDS, "cloud-init is done")  # fmt: skip
        result = json.loads(ssh("cat /run/cloud-init/result.json"))["v1"]
        assert result["errors"] == []
        assert ("ConfigDrive" if config_drive else "OpenStack") in result["datasource"]
        assert ssh("hostname").strip() == "real-one"
        assert ssh("sudo cat /root/from-the-user").strip() == "hello from the user"
        assert ssh("sudo cat /root/from-the-vendor").strip() == "hello"
        # Where both say something, the user has the last word.
        assert ssh("cat /etc/timezone").strip() == "Asia/Tokyo"
        size = int(ssh("df --output=size -B1M / | tail -n 1").strip())
        assert size > 2000, "the root file system has grown to the flavor's disk"
    finally:
        cloud.delete_all()
        cloud.call("DELETE", "/compute/v2.1/os-keypairs/me")
