"""Volumes, by the unmodified client; and what is there when their maker is killed."""

from typing import Any

from tests.e2e.live_stack import TINY_IMAGE, LiveStack
from tests.waiting import wait_until

VOLUMES = "/volume/v3/volumes"
GIB = 1 << 30


def listed(stack: LiveStack) -> list[dict[str, Any]] | None:
    """All volumes of the project; None if nobody answers now."""
    try:
        answer = stack.call("GET", f"{VOLUMES}/detail", OpenStack_API_Version="volume 3.54")
    except OSError:
        return None
    found: list[dict[str, Any]] | None = answer.json()["volumes"] if answer.status == 200 else None
    return found


def files(stack: LiveStack) -> dict[str, int]:
    """The sizes of the files there are."""
    return {
        path.name: path.stat().st_size for path in (stack.directory / "volumes").iterdir() if path.name != ".lock"
    }


def await_all(stack: LiveStack, status: str, count: int) -> None:
    def all_are() -> bool:
        found = listed(stack)
        return found is not None and [each["status"] for each in found] == [status] * count

    wait_until(all_are, 60, f"{count} volumes are {status}")


def delete_all(stack: LiveStack) -> None:
    for volume in listed(stack) or ():
        stack.call("DELETE", f"{VOLUMES}/{volume['id']}?cascade=true")
    await_all(stack, "", 0)


def test_volumes_of_the_unmodified_client(stack: LiveStack) -> None:
    made = stack.openstack_json(
        "volume", "create", "--image", TINY_IMAGE, "--size", "1", "--description", "d", "boot"
    )
    assert made["status"] == "creating"
    await_all(stack, "available", 1)
    stack.openstack("volume", "set", "--property", "a=b", "--size", "2", "boot")
    await_all(stack, "available", 1)
    shown = stack.openstack_json("volume", "show", "boot")
    assert (shown["size"], shown["bootable"], shown["properties"]) == (2, True, {"a": "b"})
    assert shown["volume_image_metadata"]["image_name"] == TINY_IMAGE
    stack.openstack("volume", "snapshot", "create", "--volume", "boot", "kept")
    wait_until(
        lambda: [each["Status"] for each in stack.openstack_json("volume", "snapshot", "list")] == ["available"],
        30, "the snapshot is there",
    )  # fmt: skip
    stack.openstack("volume", "create", "--snapshot", "kept", "copy")
    await_all(stack, "available", 2)
    start = []
    for volume in listed(stack) or ():
        with (stack.directory / "volumes" / f"volume-{volume['id']}").open("rb") as file:
            start.append(file.read(1 << 20))
    assert start[0] == start[1] != bytes(1 << 20)
    refused = stack.openstack("volume", "backup", "list", check=False)
    assert "Backups of volumes is not supported by this cloud." in refused
    assert "cinder-volume" in stack.openstack("volume", "service", "list")
    delete_all(stack)
    assert files(stack) == {}


def test_its_maker_is_killed(stack: LiveStack) -> None:
    image = stack.call("GET", f"/image/v2/images?name={TINY_IMAGE}").json()["images"][0]["id"]
    for number in range(9):
        body = {"size": 1, "name": f"v{number}", "imageRef": image}
        assert stack.call("POST", VOLUMES, {"volume": body}).status == 202
        if number in (3, 8):
            (stack.directory / "volumes" / f"volume-nobodys-{number}.part").write_bytes(b"begun")
            stack.kill("api-1")
            wait_until(lambda: listed(stack) is not None, 30, "it answers again")
    await_all(stack, "available", 9)
    assert files(stack) == {f"volume-{volume['id']}": GIB for volume in listed(stack) or ()}
    delete_all(stack)
    assert files(stack) == {}
