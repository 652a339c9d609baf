"""Moving a server: resize and cold migration, and the user's word on what has come of it.

https://docs.openstack.org/api-ref/compute/#servers-run-an-action-servers-action
"""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from adapters.rest.compute.servers import choices
from adapters.rest.compute.servers.actions.simple import PATH, command, plain
from adapters.rest.kit import since
from adapters.rest.kit.operation import Access, Call, Operations
from adapters.rest.kit.validation import Body, Integer, Text255
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
    if host is not None and call.services.fleet.named(host) is None:
        raise Invalid(f"Compute host {host} could not be found.")
    await command(call, call.services.servers.migrate, host=host, confirm_after=_window(call))


def _window(call: Call) -> Any:
    return call.services.settings.resize_confirm_seconds or None
