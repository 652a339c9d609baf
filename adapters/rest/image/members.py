"""Sharing an image with single projects.

https://docs.openstack.org/api-ref/image/v2/#sharing
"""

from typing import Any, Literal

from adapters.rest.image.access import may_change
from adapters.rest.image.document import find, find_own
from adapters.rest.kit.operation import Access, Call, Operations, empty
from adapters.rest.kit.times import seconds
from adapters.rest.kit.validation import Body, Text255
from domain.errors import Invalid, Refused
from domain.log.record import Event
from domain.neighbours import image as images
from domain.neighbours.image import Image, Member

operations = Operations()

PATH = "/v2/images/{image_id}/members"
ONE = f"{PATH}/{{member_id}}"


class NewMemberBody(Body):
    """``{"member": "…"}``: a project's id."""

    member: Text255


class AnswerBody(Body):
    """``{"status": "accepted"}``."""

    status: Literal["pending", "accepted", "rejected"]


def document(image: Image, member: Member) -> dict[str, Any]:
    return {
        "member_id": member.project_id,
        "image_id": image.id,
        "status": member.status,
        "created_at": seconds(member.created_at),
        "updated_at": seconds(member.updated_at),
        "schema": "/v2/schemas/member",
    }


@operations("GET", PATH, Access.READER, "get_members")
async def index(call: Call) -> Any:
    """All of them, for its owner; a member sees itself."""
    image = images.shared(find(call), call.params["image_id"])
    seen = [member for member in image.members if _sees(call, image, member.project_id)]
    return {"members": [document(image, member) for member in seen], "schema": "/v2/schemas/members"}


@operations("GET", ONE, Access.READER, "get_member")
async def show(call: Call) -> Any:
    image = images.shared(find(call), call.params["image_id"])
    member_id = call.params["member_id"]
    return document(image, images.member_of(image, member_id if _sees(call, image, member_id) else ""))


@operations("POST", PATH, Access.MEMBER, "add_member", body=NewMemberBody)
async def add(call: Call) -> Any:
    image, member_id = find_own(call), call.body.member
    if not member_id.strip():
        raise Invalid("A project has to be named.")
    image = await _execute(call, image, lambda known: images.share(known, image.id, member_id))
    return document(image, images.member_of(image, member_id))


@operations("PUT", ONE, Access.MEMBER, "modify_member", body=AnswerBody)
async def answer(call: Call) -> Any:
    """By the member itself, or by an administrator."""
    image, member_id, status = find(call), call.params["member_id"], call.body.status
    if not call.is_admin and member_id != call.context.project_id:
        raise Refused("forbidden", "You are not permitted to modify the status of this member.", status=403)
    image = await _execute(call, image, lambda known: images.answer(known, image.id, member_id, status))
    return document(image, images.member_of(image, member_id))


@operations("DELETE", ONE, Access.MEMBER, "delete_member", status=204)
async def remove(call: Call) -> Any:
    image, member_id = find_own(call), call.params["member_id"]
    await _execute(call, image, lambda known: images.unshare(known, image.id, member_id))
    return empty(204)


@operations("POST", "/v2/images/{image_id}/actions/deactivate", Access.ADMIN, "deactivate", status=204)
async def deactivate(call: Call) -> Any:
    """Nobody but administrators reads its data any more, and no new server starts from it."""
    image = find(call)
    await _execute(call, image, lambda known: images.deactivate(known, image.id))
    return empty(204)


@operations("POST", "/v2/images/{image_id}/actions/reactivate", Access.ADMIN, "reactivate", status=204)
async def reactivate(call: Call) -> Any:
    image = find(call)
    await _execute(call, image, lambda known: images.reactivate(known, image.id))
    return empty(204)


def _sees(call: Call, image: Image, member_id: str) -> bool:
    return may_change(call.context, image) or member_id == call.context.project_id


async def _execute(call: Call, image: Image, decide: Any) -> Image:
    def decided(known: Image | None) -> Event | None:
        event: Event | None = decide(known)
        return event

    after, accepted = await call.services.registry.execute(call.context, images.aggregate(image.id), decided)
    await call.settle(accepted)
    assert isinstance(after, Image)
    return after
