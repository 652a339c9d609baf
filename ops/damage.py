"""What is wrong with the logs, in the operator's words."""

from domain.log.loss import cure
from ops.roles.plane import COMMAND_SECONDS, Plane, open_plane
from ops.settings import Settings


def show(plane: Plane) -> None:
    """Print a sentence for each log that is damaged."""
    for damage in plane.damage:
        print(f"\n{damage} {cure(damage)}")


async def tell(settings: Settings) -> bool:
    """Look, and print it; whether there was anything. Raises Unavailable."""
    async with open_plane(settings, "damage", COMMAND_SECONDS) as plane:
        show(plane)
        return bool(plane.damage)
