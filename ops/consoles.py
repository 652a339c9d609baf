"""The grants of consoles, as the settings want them: for the API, which gives them out, and for the proxies."""

from datetime import timedelta

from handlers.consoles import Consoles
from ops.roles.plane import Plane


def consoles(plane: Plane) -> Consoles:
    """The grants of the plane's cell."""
    mine = plane.settings.console
    life = timedelta(seconds=mine.token_seconds)
    return Consoles(plane.store, plane.bus, plane.stamp, life=life, single_use=mine.single_use)
