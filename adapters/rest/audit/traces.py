"""``GET /audit/requests/{id}``: everything that a request has led to."""

from typing import Any

from adapters.rest.audit.rights import for_tenants, sees_all
from adapters.rest.kit.operation import Access, Call, Operations
from domain.errors import not_found
from projections.trace import facts_of, trace

operations = Operations()

MOST_EVENTS = 10_000


@operations(
    "GET",
    "/requests/{request_id}",
    Access.AUDITED,
    "lightcurve:audit:requests:show",
    query=frozenset(),
    query_strict_from=0,
)
async def show(call: Call) -> Any:
    """The tree of each request that is meant by the id of a request, a global request, a server or an event."""
    audit, everything = call.services.audit.events, sees_all(call)
    identity = call.params["request_id"]
    found = []
    for request_id in await audit.requests(identity):
        rows = await audit.log(request_id=request_id, limit=MOST_EVENTS)
        # An event that holds what several have asked for does not tell whose request this was.
        owners = {row.project_id for row in rows if not row.part}
        if not everything and owners != {call.context.project_id}:
            continue
        facts = {}
        for row in rows:
            recorded = await call.services.audit.event_at(row.cell, row.position)
            if recorded is not None:
                told = facts_of(recorded.event, row.part)
                facts[row.cell, row.position, row.part] = told if everything else for_tenants(told)
        found.append(trace(rows, facts))
    if not found:
        raise not_found("Request", identity)
    return {"requests": found}
