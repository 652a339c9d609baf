"""Resource classes."""

from typing import Any

from adapters.rest.placement import schemas
from adapters.rest.placement.operation import Call, Operations, Reply
from domain.placement.ledger import vocabulary as decisions
from domain.placement.ledger.refusals import missing

operations = Operations()
POLICY = "placement:resource_classes"


def _url(name: str) -> str:
    return f"/resource_classes/{name}"


def _document(name: str) -> dict[str, Any]:
    return {"name": name, "links": [{"rel": "self", "href": _url(name)}]}


@operations("GET", "/resource_classes", f"{POLICY}:list", first=2)
async def list_classes(call: Call) -> Reply:
    async with call.placement.recorded() as ledger:
        names = [*decisions.STANDARD_CLASSES, *ledger.resource_classes]
    return Reply({"resource_classes": [_document(name) for name in names]})


@operations("POST", "/resource_classes", f"{POLICY}:create", first=2)
async def create_class(call: Call) -> Reply:
    body = await call.body(schemas.RESOURCE_CLASS)
    await call.placement.write(call.context, lambda ledger: decisions.create_class(ledger, body["name"]))
    return Reply(status=201, location=_url(body["name"]), dated=False)


@operations("GET", "/resource_classes/{name}", f"{POLICY}:show", first=2)
async def show_class(call: Call) -> Reply:
    name = call.params["name"]
    if not decisions.is_class(call.placement.state, name):
        await call.placement.refreshed()
    async with call.placement.recorded() as ledger:
        if not decisions.is_class(ledger, name):
            raise missing(decisions.class_missing(name))
    return Reply(_document(name))


@operations("PUT", "/resource_classes/{name}", f"{POLICY}:update", first=2, last=6)
async def rename_class(call: Call) -> Reply:
    body = await call.body(schemas.RESOURCE_CLASS)
    await call.placement.write(
        call.context, lambda ledger: decisions.rename_class(ledger, call.params["name"], body["name"])
    )
    return Reply(_document(body["name"]))


@operations("PUT", "/resource_classes/{name}", f"{POLICY}:update", first=7, takes=None)
async def ensure_class(call: Call) -> Reply:
    """Make sure that the custom class exists."""
    name = call.params["name"]
    schemas.RESOURCE_CLASS(call.minor).body(b'{"name": "%s"}' % name.encode())
    created = await call.placement.write(call.context, lambda ledger: decisions.ensure_class(ledger, name))
    return Reply(status=201 if created else 204, location=_url(name), dated=False)


@operations("DELETE", "/resource_classes/{name}", f"{POLICY}:delete", first=2)
async def delete_class(call: Call) -> Reply:
    await call.placement.write(call.context, lambda ledger: decisions.delete_class(ledger, call.params["name"]))
    return Reply(status=204, dated=False)
