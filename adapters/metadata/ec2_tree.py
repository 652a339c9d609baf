"""``/latest/meta-data`` and ``/latest/user-data``: the tree that EC2 made a custom, as Nova serves it."""

from typing import Any

from domain.server.state import Server, guest_name

VERSIONS = (
    *("1.0", "2007-01-19", "2007-03-01", "2007-08-29", "2007-10-10", "2007-12-15", "2008-02-01", "2008-09-01"),
    *("2009-04-04", "latest"),
)
Tree = dict[str, Any]


def meta_data(server: Server) -> Tree:
    """The tree below ``meta-data``; a dictionary is a directory."""
    name = guest_name(server)
    address = server.nics[0].ip_address if server.nics else ""
    tree: Tree = {
        "ami-id": f"ami-{(server.image.id if server.image else server.id)[:8]}",
        "ami-launch-index": str(server.launch_index),
        "block-device-mapping": _devices(server),
        "hostname": name,
        "instance-action": "none",
        "instance-id": f"i-{server.id[:8]}",
        "instance-type": server.flavor.name,
        "local-hostname": name,
        "local-ipv4": address,
        "placement": {"availability-zone": server.availability_zone or ""},
        "public-hostname": name,
        "public-ipv4": "",
        "reservation-id": server.reservation_id,
        "security-groups": "\n".join(server.security_groups or ("default",)),
    }
    if server.public_key:
        tree["public-keys"] = {"0": {"openssh-key": server.public_key}}
    return tree


def _devices(server: Server) -> Tree:
    """The disks by what they are for, in the order in which the guest has them."""
    further = {"ephemeral0": server.flavor.ephemeral_gb, "swap": server.flavor.swap_mb}
    present = [name for name, size in further.items() if size]
    names = {name: f"/dev/vd{letter}" for name, letter in zip(present, "bc", strict=False)}
    return {"ami": "vda", "root": "/dev/vda"} | names


def page(tree: Tree, parts: list[str], key_name: str | None) -> str | None:
    """What stands at a path of the tree; the list of what is there for a directory; None if nothing is."""
    found: Any = tree
    for part in parts:
        if not isinstance(found, dict) or part not in found:
            return None
        found = found[part]
    if not isinstance(found, dict):
        return str(found)
    if parts == ["public-keys"]:
        # The one list that says more than names: cloud-init reads the key's number before the sign.
        return f"0={key_name}"
    return "\n".join(f"{name}/" if isinstance(value, dict) else name for name, value in sorted(found.items()))
