"""The grants of consoles, as the settings want them: for the API, which gives them out, and for the proxies."""

from datetime import timedelta

from domain.errors import Invalid
from handlers.consoles.consoles import Consoles
from ops.roles.plane import Plane


def consoles(plane: Plane) -> Consoles:
    """The grants of the plane's cell. Raises Invalid."""
    mine = plane.settings.console
    if mine.single_use and mine.spice_direct_url:
        raise Invalid("[console] single_use and spice_direct_url do not go together: other proxies redeem no tokens.")
    life = timedelta(seconds=mine.token_seconds)
    return Consoles(
        plane.store, plane.bus, plane.stamp, life=life, single_use=mine.single_use, refusals=plane.refusals
    )
