"""Steering a live migration: to abort it, to have it end soon, to give it other time or another end.

https://docs.openstack.org/api-ref/compute/#server-migrations-servers-migrations
``PUT`` is ours.
"""

from functools import partial
from typing import Any

from adapters.rest.compute.servers.access import change, find
from adapters.rest.compute.servers.migration_orders import DEADLINE, POLICY, asked, find_migration, shown
from adapters.rest.kit import since
from adapters.rest.kit.operation import Access, Call, Operations, Reply
from adapters.rest.kit.validation import Body
from domain.errors import Invalid, Refused
from domain.server.moves import steering
from domain.server.moves.course import MIGRATING
from domain.server.moves.orders import KEEP_TRYING
from domain.server.moves.steering import Which
from domain.server.state import check_state

operations = Operations()

PATH = "/servers/{server_id}/migrations/{migration_id}"
RULE = "os_compute_api:servers:migrations"


async def _which(call: Call, doing: str) -> Which:
    """The migration in the path, of a server that is on its way. Raises Refused (404, 409)."""
    server = await find(call)
    check_state(server, doing, (server.vm_state,), (MIGRATING,))
    row = await find_migration(call, server)
    return Which(row.id, row.uuid, row.status)


@operations("DELETE", PATH, Access.ADMIN, f"{RULE}:delete", first=since.ABORTED_LIVE_MIGRATION, status=202)
async def abort(call: Call) -> None:
    """Have the server stay where it is; as of 2.65 also before it leaves."""
    waiting_too = call.minor >= since.ABORTED_WAITING
    which = await _which(call, "abort live migration")
    decide = partial(steering.abort, migration=which, waiting_too=waiting_too)
    await change(call, decide)


class ForceCompleteBody(Body):
    """``{"force_complete": null}``."""

    force_complete: None


@operations("POST", f"{PATH}/action", Access.ADMIN, f"{RULE}:force_complete", action="force_complete",
            body=ForceCompleteBody, first=since.FORCE_COMPLETE, status=202)  # fmt: skip
async def force_complete(call: Call) -> None:
    """Have the server at its target soon."""
    try:
        which = await _which(call, "force complete")
    except Refused as error:
        if error.code == "migration.not_found":
            # Nova's status for it, other than where it is aborted.
            raise Refused(error.code, error.message, status=400) from None
        raise
    await change(call, partial(steering.force_complete, migration=which))


@operations("PUT", PATH, Access.ADMIN, f"{RULE}:update", first=since.LIVE_MIGRATIONS, status=202)
async def change_policy(call: Call) -> Any:
    """Give it other time, from now on, or another end."""
    policy, seconds = asked(call)
    if policy is None and seconds is None:
        raise Invalid(f"Nothing is asked for: {DEADLINE} or {POLICY} have to say what.")
    which = await _which(call, "change the migration of")
    if seconds is None and policy != KEEP_TRYING:
        seconds = await _time_of_another(call)
    accepted = await call.services.servers.steer(call.context, call.params["server_id"], which, policy, seconds)
    await call.settle(accepted)
    server = await find(call)
    return Reply(headers=shown(server, await find_migration(call, server)))


async def _time_of_another(call: Call) -> float | None:
    """The usual time, for one that has kept trying and shall not any more."""
    move = (await find(call)).move
    return call.services.settings.live_migration_seconds if move and move.policy == KEEP_TRYING else None
