"""Which projects may use a volume type that is not public."""

from typing import Any

import msgspec

from adapters.rest.kit.operation import Access, Call, Operations
from adapters.rest.kit.validation import Body, Text255
from adapters.rest.volume.types import execute, find
from domain.errors import Invalid, Refused
from domain.neighbours import volume_type

operations = Operations()

RULE = "volume_extension:volume_type_access"
PATH = "/types/{type_id}/action"


class Project(Body):
    project: Text255


class AddBody(Body):
    add: Project = msgspec.field(name="addProjectAccess")


class RemoveBody(Body):
    remove: Project = msgspec.field(name="removeProjectAccess")


@operations("GET", "/types/{type_id}/os-volume-type-access", Access.ADMIN, RULE)
async def index(call: Call) -> Any:
    found = find(call)
    if found.is_public:
        raise Refused("volume_type.public", "Access list not available for public volume types.", status=404)
    return {"volume_type_access": [{"volume_type_id": found.id, "project_id": each} for each in found.projects]}


@operations(
    "POST", PATH, Access.ADMIN, f"{RULE}:addProjectAccess", action="addProjectAccess", body=AddBody, status=202
)
async def add(call: Call) -> None:
    project_id = call.body.add.project
    if not await call.services.neighbours.identity.project_exists(project_id):
        raise Invalid(f"Invalid input received: There is no project {project_id}.")
    await _set(call, project_id, allowed=True)


@operations("POST", PATH, Access.ADMIN, f"{RULE}:removeProjectAccess", action="removeProjectAccess", body=RemoveBody,
            status=202)  # fmt: skip
async def remove(call: Call) -> None:
    await _set(call, call.body.remove.project, allowed=False)


async def _set(call: Call, project_id: str, *, allowed: bool) -> None:
    type_id = find(call).id
    await execute(call, lambda known: volume_type.set_access(known, type_id, project_id, allowed=allowed))
