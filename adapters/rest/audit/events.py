"""``GET /audit/events``: the events themselves, as CloudEvents or in CADF, in pages that never change or as a stream.

The order is that of the positions, log by log. A page ends where the one asked for next begins, and no page goes
beyond the moment at which the first one was asked for: so what has been read once is not read otherwise later.
"""

import asyncio
from typing import Any
from urllib.parse import urlencode

from adapters.rest.audit.formats import MEDIA_TYPES, format_of
from adapters.rest.audit.questions import AT_ONCE, FILTERS, end_of, moment, question
from adapters.rest.audit.streams import stream
from adapters.rest.kit.as_of import POSITION
from adapters.rest.kit.event_stream import MEDIA_TYPE
from adapters.rest.kit.media_types import accepts
from adapters.rest.kit.operation import Access, Call, Operations, Reply, Rule
from adapters.rest.kit.paging import MAX_PAGE, page_limit
from domain.errors import Invalid
from domain.log.moment import Moment

operations = Operations()

QUERY = frozenset((*FILTERS, "after", "until", "limit", "format"))
LIST = Rule("lightcurve:audit:events:list", Access.AUDITED)


@operations("GET", "/events", LIST.default, LIST.name, query=QUERY, query_strict_from=0)
async def index(call: Call) -> Any:
    if accepts(call.headers.get("accept", "*/*"), MEDIA_TYPE, before="application/json"):
        return await stream(call, LIST)
    wanted = question(call)
    name, told = await format_of(call)
    until = await moment(call, call.query.get("until", "now"))
    after = await moment(call, call.query["after"]) if "after" in call.query else Moment.of({})
    page = await wanted.page(call, after, until, _limit(call))
    headers = {"content-type": MEDIA_TYPES[name], POSITION: str(until)}
    if page.more:
        query = {**dict(call.query), "after": str(end_of(after, page.rows, until)), "until": str(until)}
        headers["link"] = f'<{call.services.settings.public_url}/audit/events?{urlencode(query)}>; rel="next"'
    documents = []
    for number, recorded in enumerate(page.events):
        documents.append(told(recorded, wanted.everything))
        if number % AT_ONCE == 0:
            await asyncio.sleep(0)  # others have their turn
    return Reply(documents, headers=headers)


def _limit(call: Call) -> int:
    asked = page_limit(call.query)
    if asked == 0:
        raise Invalid("A page of no events leads nowhere: limit begins at 1.")
    return min(asked or MAX_PAGE, MAX_PAGE)
