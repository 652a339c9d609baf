"""Locking a server: nobody but administrators may change its guest until it is unlocked."""

from functools import partial
from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from adapters.rest.compute.inner_rules import UNLOCK_OVERRIDE
from adapters.rest.compute.servers.access import change
from adapters.rest.compute.servers.actions.simple import PATH, plain
from adapters.rest.kit.operation import Access, Call, Operations
from adapters.rest.kit.policy import forbidden
from adapters.rest.kit.validation import Body, Versions
from domain.errors import Refused
from domain.server import details

operations = Operations()


class LockArguments(Body):
    locked_reason: Annotated[Annotated[str, Meta(min_length=1, max_length=255)] | UnsetType, Versions(73)] = UNSET


class LockBody(Body):
    """``{"lock": null}``, or with a reason from 2.73 on."""

    lock: LockArguments | None


@operations("POST", PATH, Access.MEMBER, "os_compute_api:os-lock-server:lock", action="lock", body=LockBody,
            status=202)  # fmt: skip
async def lock(call: Call) -> None:
    asked: LockArguments | None = call.body.lock
    reason = asked.locked_reason if asked and asked.locked_reason is not UNSET else None
    await change(call, partial(details.lock, project_id=call.context.project_id, reason=reason), heed_lock=False)


@operations("POST", PATH, Access.MEMBER, "os_compute_api:os-lock-server:unlock", action="unlock",
            body=plain("unlock"),
            status=202)  # fmt: skip
async def unlock(call: Call) -> None:
    overrides = call.may(UNLOCK_OVERRIDE)
    try:
        await change(
            call, partial(details.unlock, project_id=call.context.project_id, overrides=overrides), heed_lock=False
        )
    except Refused as error:
        raise forbidden(UNLOCK_OVERRIDE.name) if error.code == details.NOT_THE_LOCKER else error from None
