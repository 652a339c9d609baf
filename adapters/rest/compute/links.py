"""Links to things of the Compute API, and to the next page."""

from urllib.parse import urlencode

from adapters.rest.kit.operation import Call

ROOT = "/compute"

Link = dict[str, str]


def item(call: Call, collection: str, identifier: str) -> list[Link]:
    """The permanent and the versioned address of a thing."""
    base = call.services.settings.public_url + ROOT
    return [
        {"rel": "self", "href": f"{base}/v2.1/{collection}/{identifier}"},
        bookmark(call, collection, identifier),
    ]


def bookmark(call: Call, collection: str, identifier: str) -> Link:
    """The permanent address of a thing."""
    return {"rel": "bookmark", "href": f"{call.services.settings.public_url}{ROOT}/{collection}/{identifier}"}


def following(call: Call, path: str, marker: str) -> list[Link]:
    """The next page, with the same query."""
    query = [(name, value) for name, value in call.query.multi_items() if name != "marker"]
    return next_page(call, path, [*query, ("marker", marker)])


def next_page(call: Call, path: str, query: list[tuple[str, str]]) -> list[Link]:
    """The link to a page."""
    href = f"{call.services.settings.public_url}{ROOT}/v2.1{path}?{urlencode(query)}"
    return [{"rel": "next", "href": href}]
