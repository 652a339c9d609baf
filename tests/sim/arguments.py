"""With which arguments the storm asks for actions that take any."""

from collections.abc import Awaitable, Callable
from functools import partial
from random import Random

from domain.server.action import Action
from domain.server.actions import reboot
from domain.server.moves.orders import POLICIES
from handlers.context import Context
from handlers.neighbours import BootImage, Images
from handlers.servers.images import make_image
from handlers.servers.requests import Evacuation, Rebuild
from handlers.servers.servers import Servers
from handlers.servers.shelving import have_again, put_away
from tests.sim.world import FLAVORS, IMAGE

Ask = Callable[[Servers, Images, Context, str, Random], Awaitable[object]]

ARGUMENTS: dict[str, Ask] = {
    "reboot": lambda servers, _images, context, server_id, random: servers.act(
        context, server_id, reboot.REBOOT, partial(reboot.request, hard=random.random() < 0.5)
    ),
    "rebuild": lambda servers, _images, context, server_id, _: servers.rebuild(
        context, server_id, Rebuild(image=IMAGE, admin_pass="new")
    ),
    "resize": lambda servers, _images, context, server_id, random: servers.resize(
        context, server_id, random.choice(FLAVORS), random.choice((None, 600.0))
    ),
    "live-migration": lambda servers, _images, context, server_id, random: servers.live_migrate(
        context,
        server_id,
        random.choice((None, "host1", "host2", "host3")),
        random.choice((5.0, 60.0, 1800.0)),
        random.choice(POLICIES),
    ),
    "migrate": lambda servers, _images, context, server_id, random: servers.migrate(
        context, server_id, random.choice((None, "host1", "host2", "host3"))
    ),
    "evacuate": lambda servers, _images, context, server_id, random: servers.evacuate(
        context, server_id, Evacuation(stopped=random.random() < 0.5), lambda _: False
    ),
    "rescue": lambda servers, _images, context, server_id, _: servers.rescue(
        context, server_id, BootImage(IMAGE, min_ram_mb=0), "rescue"
    ),
    "createImage": lambda servers, images, context, server_id, _: make_image(
        servers, images, context, server_id, "image", {}
    ),
    "shelve": lambda servers, images, context, server_id, random: put_away(
        servers, images, context, server_id, random.choice((0.0, 0.0, 300.0, None))
    ),
    "unshelve": lambda servers, images, context, server_id, random: have_again(
        servers, images, context, server_id, host=random.choice((None, None, "host1", "host2", "host3"))
    ),
}


async def ask(
    servers: Servers, images: Images, context: Context, server_id: str, action: Action, random: Random
) -> None:
    """Ask for an action on a server."""
    if action.name in ARGUMENTS:
        await ARGUMENTS[action.name](servers, images, context, server_id, random)
    else:
        await servers.act(context, server_id, action)
