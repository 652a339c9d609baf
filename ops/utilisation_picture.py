"""How full hosts are, and would have been: a picture in SVG."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

RESOURCES = ("vcpus", "memory", "disk")
ROW, BAR, LEFT, WIDTH, GAP = 40, 14, 130, 190, 40
RECORDED, INSTEAD = "#7a8794", "#2a7de1"


class Bars(NamedTuple):
    """A host: of each of RESOURCES the share that was claimed, and the one that would have been; None where it had,
    or would have had, nothing of it."""

    name: str
    shares: tuple[tuple[float | None, float | None], ...]


def draw(hosts: Sequence[Bars]) -> str:
    """A row for each host, with a pair of bars for each resource: what was above what would have been."""
    height, width = 70 + ROW * len(hosts), LEFT + (WIDTH + GAP) * len(RESOURCES)
    size = f'width="{width}" height="{height}"'
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">',
            f'<rect {size} fill="white"/>',
            *_legend(),
            *(line for number, host in enumerate(hosts) for line in _row(host, 60 + ROW * number)),
            "</svg>\n",
        )
    )


def _legend() -> Iterator[str]:
    for number, (colour, words) in enumerate(((RECORDED, "as it was"), (INSTEAD, "as it would have been"))):
        at = LEFT + number * 110
        yield f'<rect x="{at}" y="10" width="12" height="12" fill="{colour}"/>'
        yield f'<text x="{at + 18}" y="20">{words}</text>'
    for number, resource in enumerate(RESOURCES):
        yield f'<text x="{LEFT + (WIDTH + GAP) * number}" y="46" font-weight="bold">{resource}</text>'


def _row(host: Bars, top: int) -> Iterator[str]:
    yield f'<text x="10" y="{top + BAR + 4}">{escape(host.name)}</text>'
    for number, pair in enumerate(host.shares):
        left = LEFT + (WIDTH + GAP) * number
        yield f'<rect x="{left}" y="{top}" width="{WIDTH}" height="{2 * BAR + 2}" fill="#eef1f4"/>'
        for place, (share, colour) in enumerate(zip(pair, (RECORDED, INSTEAD), strict=True)):
            if share is not None:
                length = min(share, 1.0) * WIDTH
                y = top + place * (BAR + 2)
                yield f'<rect x="{left}" y="{y}" width="{length:.1f}" height="{BAR}" fill="{colour}"/>'
                yield f'<text x="{left + WIDTH + 4}" y="{y + 11}" font-size="10">{share:.0%}</text>'
