"""Links to things of the Block Storage API, and to the next page."""

from urllib.parse import urlencode

from adapters.rest.kit.operation import Call

ROOT = "/volume"

Link = dict[str, str]


def item(call: Call, collection: str, identifier: str) -> list[Link]:
    """The versioned and the permanent address of a thing."""
    base = call.services.settings.public_url + ROOT
    return [
        {"rel": "self", "href": f"{base}/v3/{collection}/{identifier}"},
        {"rel": "bookmark", "href": f"{base}/{collection}/{identifier}"},
    ]


def following(call: Call, path: str, marker: str) -> list[Link]:
    """The next page, with the same query."""
    query = [(name, value) for name, value in call.query.multi_items() if name not in ("marker", "offset")]
    href = f"{call.services.settings.public_url}{ROOT}/v3{path}?{urlencode([*query, ('marker', marker)])}"
    return [{"rel": "next", "href": href}]
