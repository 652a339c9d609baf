"""noVNC's web client: the distribution's package, unpacked into the cache and not installed, for it would bring
a node.js and a websockify of its own."""

import shutil
from pathlib import Path

from domain.errors import Unavailable
from ops.guest_image.tools import BuildError, run

PACKAGE = "novnc"
PAGE = "vnc_lite.html"


def web_client(cache: Path) -> Path:
    """The directory with the client's pages; downloaded the first time. Raises Unavailable."""
    root = cache / PACKAGE
    pages = root / "usr" / "share" / "novnc"
    if (pages / PAGE).exists():
        return pages
    fresh = cache / f"{PACKAGE}.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    try:
        run("download noVNC", "apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", PACKAGE, cwd=fresh)
        for package in fresh.glob("*.deb"):
            run("unpack noVNC", "dpkg", "-x", package, fresh)
            package.unlink()
    except BuildError as error:
        raise Unavailable(
            f"{error}. Set [console] web_dir to a directory with noVNC's web client, or run apt-get update."
        ) from None
    shutil.rmtree(root, ignore_errors=True)
    fresh.rename(root)
    return pages
