"""Guests that must not be on a host any more."""

import logging

from domain.errors import LightcurveError
from domain.guest import GuestState
from handlers.ports import Hypervisor

log = logging.getLogger(__name__)


async def remove(hypervisor: Hypervisor, guests: tuple[GuestState, ...]) -> int:
    """How many are left, for whatever reason."""
    left = 0
    for guest in guests:
        log.warning("removing guest %s: the log says that it must not be here", guest.server_id)
        try:
            # Of that assignment only: the server may be here in another one, or its disk may.
            await hypervisor.discard(guest.server_id, guest.epoch)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
            tell("guest %s is not removed: %s", guest.server_id, error)
            left += 1
    return left


def tell(words: str, what: str, error: Exception) -> None:
    """Log what went wrong; with a traceback, if it is nothing that we foresee."""
    log.warning(words, what, error, exc_info=None if isinstance(error, LightcurveError) else error)
