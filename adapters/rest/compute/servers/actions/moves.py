"""Moving a server: resize and cold migration, and the user's word on what has come of it.

https://docs.openstack.org/api-ref/compute/#servers-run-an-action-servers-action
"""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from adapters.rest.compute.servers import choices
from adapters.rest.compute.servers.actions.simple import PATH, command, plain
from adapters.rest.compute.servers.migration_orders import begun
from adapters.rest.kit import since
from adapters.rest.kit.operation import Access, Call, Operations
from adapters.rest.kit.validation import Body, Integer, Text255, boolean
from domain.errors import Invalid
from domain.server.moves.cold import CONFIRM, REVERT

operations = Operations()


class ResizeArguments(Body):
    flavorRef: Text255 | Integer  # noqa: N815 - Nova's name
    disk_config: Literal["AUTO", "MANUAL"] | UnsetType = msgspec.field(name="OS-DCF:diskConfig", default=UNSET)


class ResizeBody(Body):
    """``{"resize": {"flavorRef": "2"}}``."""

    resize: ResizeArguments


@operations(
    "POST", PATH, Access.MEMBER, "os_compute_api:servers:resize", action="resize", body=ResizeBody, status=202
)
async def resize(call: Call) -> None:
    """Begin to give the server another flavor, here or on another host."""
    flavor = choices.flavor(call, str(call.body.resize.flavorRef))
    await command(call, call.services.servers.resize, flavor=flavor, confirm_after=_window(call))


@operations("POST", PATH, Access.MEMBER, "os_compute_api:servers:confirm_resize", action="confirmResize",
            body=plain("confirmResize"), status=204)  # fmt: skip
async def confirm(call: Call) -> None:
    await command(call, call.services.servers.act, action=CONFIRM)


@operations("POST", PATH, Access.MEMBER, "os_compute_api:servers:revert_resize", action="revertResize",
            body=plain("revertResize"), status=202)  # fmt: skip
async def revert(call: Call) -> None:
    await command(call, call.services.servers.act, action=REVERT)


class MigrateArguments(Body):
    host: Text255 | None = None


class MigrateBody(Body):
    """``{"migrate": null}`` or ``{"migrate": {"host": …}}``."""

    migrate: MigrateArguments | None


RULE = "os_compute_api:os-migrate-server:migrate"


@operations("POST", PATH, Access.ADMIN, RULE, action="migrate", body=plain("migrate"),
            last=since.MIGRATION_TO_HOST - 1, status=202)  # fmt: skip
async def migrate_somewhere(call: Call) -> None:
    await _migrate(call, None)


@operations("POST", PATH, Access.ADMIN, RULE, action="migrate", body=MigrateBody, first=since.MIGRATION_TO_HOST,
            status=202)  # fmt: skip
async def migrate(call: Call) -> None:
    """Begin a cold migration, to a host that is named or to one that is chosen."""
    await _migrate(call, call.body.migrate.host if call.body.migrate else None)


async def _migrate(call: Call, host: str | None) -> None:
    _check_host(call, host)
    await command(call, call.services.servers.migrate, host=host, confirm_after=_window(call))


class FirstLiveArguments(Body):
    host: Text255 | None
    block_migration: bool | Text255
    disk_over_commit: bool | Text255


class LiveArguments(Body):
    host: Text255 | None
    block_migration: bool | Text255


class ForcedLiveArguments(LiveArguments):
    force: bool | Text255 = False


LIVE = "os-migrateLive"
LIVE_RULE = "os_compute_api:os-migrate-server:migrate_live"
LIVE_BODIES = (
    (FirstLiveArguments, 1, since.BLOCK_MIGRATION_AUTO - 1),
    (LiveArguments, since.BLOCK_MIGRATION_AUTO, since.FORCED_LIVE_MIGRATION - 1),
    (ForcedLiveArguments, since.FORCED_LIVE_MIGRATION, since.NO_FORCED_LIVE_MIGRATION - 1),
    (LiveArguments, since.NO_FORCED_LIVE_MIGRATION, None),
)
"""What the body holds, from one microversion to another."""


def _declare_live(arguments: type[Body], first: int, last: int | None) -> None:
    body = plain(LIVE, arguments)
    more = {} if last is None else {"last": last}

    @operations("POST", PATH, Access.ADMIN, LIVE_RULE, action=LIVE, body=body, first=first, status=202, **more)
    async def migrate_live(call: Call) -> None:
        """Begin a live migration. Whether disks have to be copied follows from the hosts."""
        asked = call.body.argument
        boolean_or_auto("block_migration", asked.block_migration, auto=call.minor >= since.BLOCK_MIGRATION_AUTO)
        _check_host(call, asked.host)
        await command(call, call.services.servers.live_migrate, host=asked.host, **begun(call))


for _arguments in LIVE_BODIES:
    _declare_live(*_arguments)


def _check_host(call: Call, host: str | None) -> None:
    if host is not None and call.services.fleet.named(host) is None:
        raise Invalid(f"Compute host {host} could not be found.")


def boolean_or_auto(name: str, value: bool | str, *, auto: bool) -> None:
    """Raise Invalid for what is no boolean, nor ``auto`` where that may be said."""
    if not (auto and value == "auto"):
        boolean(name, value)


def _window(call: Call) -> Any:
    return call.services.settings.resize_confirm_seconds or None
