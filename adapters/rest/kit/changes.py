"""``changes-since`` and ``changes-before`` in a query string."""

from datetime import datetime

from adapters.rest.kit import since
from adapters.rest.kit.operation import Call
from adapters.rest.kit.times import parse
from domain.errors import Invalid


def times(call: Call) -> tuple[datetime | None, datetime | None]:
    """Both; None for one that is not asked for. Raises Invalid, also where the microversion has no such thing."""
    after = parse("changes-since", call.query["changes-since"]) if "changes-since" in call.query else None
    before = None
    if "changes-before" in call.query:
        if call.minor < since.CHANGES_BEFORE:
            raise Invalid("Additional properties are not allowed ('changes-before' was unexpected)")
        before = parse("changes-before", call.query["changes-before"])
    if after and before and before < after:
        raise Invalid("The value of changes-since must be less than or equal to changes-before.")
    return after, before
