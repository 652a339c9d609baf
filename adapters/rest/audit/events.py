"""``GET /audit/events``: the events themselves, as CloudEvents, in pages that never change.

The order is that of the positions, log by log. A page ends where the one asked for next begins, and no page goes
beyond the moment at which the first one was asked for: so what has been read once is not read otherwise later.
https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md#4-json-batch-format
"""

from datetime import UTC
from typing import Any
from urllib.parse import urlencode

import msgspec

from adapters.rest.audit.rights import for_tenants, sees_all
from adapters.rest.kit.as_of import POSITION
from adapters.rest.kit.operation import Access, Call, Operations, Reply
from adapters.rest.kit.paging import MAX_PAGE, page_limit
from domain.errors import Invalid
from domain.log.moment import Moment
from domain.log.record import Recorded
from projections.event_log import LogRow
from projections.trace import facts_of

operations = Operations()

BATCH = "application/cloudevents-batch+json"
FILTERS = ("type", "server_id", "project_id", "user_id", "request_id")
QUERY = frozenset((*FILTERS, "after", "until", "limit"))


@operations("GET", "/events", Access.AUDITED, "lightcurve:audit:events:list", query=QUERY, query_strict_from=0)
async def index(call: Call) -> Any:
    everything = sees_all(call)
    wanted = {name: call.query[name] for name in FILTERS if name in call.query}
    if not everything and wanted.setdefault("project_id", call.context.project_id or "") != call.context.project_id:
        return _answer(call, [], None, await _moment(call, "until", "now"))
    until = await _moment(call, "until", "now")
    after = await _moment(call, "after") if "after" in call.query else Moment.of({})
    limit = min(page_limit(call.query) or MAX_PAGE, MAX_PAGE)
    rows = await call.services.audit.page(wanted, after, until, limit + 1, whole_only=not everything)
    events = []
    for row in rows[:limit]:
        recorded = await call.services.event_at(row.cell, row.position)
        if recorded is not None:
            events.append(_event(row, recorded, everything=everything))
    return _answer(call, events, _end(after, rows[:limit], until) if len(rows) > limit else None, until)


def _end(after: Moment, rows: list[LogRow], until: Moment) -> Moment:
    """Where a page has got to: the logs before that of its last event are through."""
    last = rows[-1]
    return Moment.of(
        {
            cell: last.position if cell == last.cell else position if cell < last.cell else after[cell]
            for cell, position in until.positions
        }
    )


async def _moment(call: Call, name: str, default: str = "") -> Moment:
    past = call.services.past
    if past is None:
        raise Invalid("There is no log here.")
    moment, _ = await past.at(call.query.get(name, default))
    return moment


def _answer(call: Call, events: list[dict[str, Any]], end: Moment | None, until: Moment) -> Reply:
    headers = {"content-type": BATCH, POSITION: str(until)}
    if end is not None:
        query = {**dict(call.query), "after": str(end), "until": str(until)}
        headers["link"] = f'<{call.services.settings.public_url}/audit/events?{urlencode(query)}>; rel="next"'
    return Reply(events, headers=headers)


def _event(row: LogRow, recorded: Recorded, *, everything: bool) -> dict[str, Any]:
    """In the JSON format. What an auditor sees is what the log has: secrets are sealed there."""
    meta, event = recorded.meta, recorded.event
    data = msgspec.to_builtins(event) if everything else for_tenants(facts_of(event, 0))
    shown = {
        "specversion": "1.0",
        "id": meta.event_id,
        "source": f"/cells/{row.cell}",
        "type": event.__struct_config__.tag,
        "subject": str(recorded.aggregate),
        "time": meta.time.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "aggregateversion": recorded.version,
        "position": recorded.position,
        "requestid": meta.request_id,
        "globalrequestid": meta.global_request_id,
        "userid": meta.user_id,
        "projectid": meta.project_id,
        "previousdigest": recorded.previous,
        "data": data,
    }
    return {name: value for name, value in shown.items() if value is not None}
