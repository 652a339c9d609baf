"""``GET /audit/events`` with ``Accept: text/event-stream``: the events as they come, from any moment on.

The id of each is the moment of who has read so far: it comes back as ``Last-Event-ID``, and what follows is exactly
what has not been read yet.
"""

from collections.abc import AsyncGenerator

import msgspec

from adapters.rest.audit.formats import Format, format_of
from adapters.rest.audit.questions import Question, end_of, moment, place, question
from adapters.rest.kit.as_of import POSITION
from adapters.rest.kit.event_stream import KEEP_ALIVE, EventStream, block
from adapters.rest.kit.operation import Call, Rule
from domain.errors import Invalid, Refused, Unavailable
from domain.log.moment import Moment

LAST_EVENT_ID = "last-event-id"
KEEP_ALIVE_SECONDS = 15.0
"""Between two signs of life: proxies cut off who says nothing for a minute. So long, too, the end of a token or of a
right may go unnoticed."""
AGAIN_SECONDS = 1.0
"""After which somebody is asked again who did not answer."""
PAGE = 256


async def stream(call: Call, rule: Rule) -> EventStream:
    """From where ``Last-Event-ID`` or ``after`` says, else from the beginning. Raises Invalid, Refused (403; 429 for
    one stream too many) and Unavailable."""
    if "until" in call.query or "limit" in call.query:
        raise Invalid("A stream has no end: until and limit are for pages.")
    asked = question(call)
    _, told = await format_of(call)
    since = call.headers.get(LAST_EVENT_ID) or call.query.get("after")
    now = await moment(call, "now")
    after = await moment(call, since) if since else Moment.of(dict.fromkeys(now.cells, 0))
    end = call.services.audit.streams.begin(call.context.project_id or "")
    return EventStream(_blocks(call, rule, asked, told, after), end, {POSITION: str(after)})


async def _blocks(
    call: Call, rule: Rule, asked: Question, told: Format, after: Moment
) -> AsyncGenerator[bytes, None]:
    """Ends once the caller may not read on."""
    while True:
        try:
            until = await moment(call, "now")
            while after != until:
                page = await asked.page(call, after, until, PAGE)
                read = end_of(after, page.rows, until) if page.more else until
                for recorded in page.events:
                    after = place(after, recorded.cell, recorded.position, until)
                    yield block(str(after), msgspec.json.encode(told(recorded, asked.everything)))
                if after != read:
                    after = read
                    yield block(str(after))
        except Unavailable:
            await call.services.stamp.clock.sleep(AGAIN_SECONDS)
            yield KEEP_ALIVE
        else:
            left = (call.identified.expires_at - call.services.stamp.clock.now()).total_seconds()
            if not await call.services.audit.news.after(after, max(0.0, min(KEEP_ALIVE_SECONDS, left))):
                yield KEEP_ALIVE
        try:
            call.caller = call.revalidate()
            call.require(rule)
            asked = question(call)
        except Refused:
            return
