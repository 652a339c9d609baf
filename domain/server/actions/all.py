"""All actions, a line each."""

from domain.server.action import Action
from domain.server.actions.crash_dump import TRIGGER_CRASH_DUMP
from domain.server.actions.create_image import CREATE_IMAGE
from domain.server.actions.pause import PAUSE, UNPAUSE
from domain.server.actions.power import START, STOP
from domain.server.actions.reboot import REBOOT
from domain.server.actions.rebuild import REBUILD
from domain.server.actions.rescue import RESCUE, UNRESCUE
from domain.server.actions.shelve import OFFLOAD, SHELVE
from domain.server.actions.suspend import RESUME, SUSPEND
from domain.server.actions.unshelve import UNSHELVE

ACTIONS: tuple[Action, ...] = (
    STOP,
    START,
    REBOOT,
    PAUSE,
    UNPAUSE,
    SUSPEND,
    RESUME,
    REBUILD,
    RESCUE,
    UNRESCUE,
    TRIGGER_CRASH_DUMP,
    CREATE_IMAGE,
    SHELVE,
    OFFLOAD,
    UNSHELVE,
)
