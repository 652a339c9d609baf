"""The consoles' web clients: the distribution's packages, unpacked into the cache and not installed, for they would
bring a node.js and websockifys of their own."""

import shutil
from pathlib import Path
from typing import NamedTuple

from domain.errors import Unavailable
from ops.guest_image.tools import BuildError, run


class WebClient(NamedTuple):
    """A package, the page that it is known by, and what can be set instead of it."""

    package: str
    page: str
    setting: str


NOVNC = WebClient("novnc", "vnc_lite.html", "web_dir")
SPICE = WebClient("spice-html5", "spice_auto.html", "spice_web_dir")


def web_client(client: WebClient, cache: Path) -> Path:
    """The directory with the client's pages; downloaded the first time. Raises Unavailable."""
    root = cache / client.package
    pages = root / "usr" / "share" / client.package
    if (pages / client.page).exists():
        return pages
    fresh = cache / f"{client.package}.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    download = ("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", client.package)
    try:
        run(f"download {client.package}", *download, cwd=fresh)
        for package in fresh.glob("*.deb"):
            run(f"unpack {client.package}", "dpkg", "-x", package, fresh)
            package.unlink()
    except BuildError as error:
        raise Unavailable(
            f"{error}. Set [console] {client.setting} to a directory with the web client of {client.package}, "
            "or run apt-get update."
        ) from None
    shutil.rmtree(root, ignore_errors=True)
    fresh.rename(root)
    return pages
