"""What a page of a web client may do: run the scripts that it came with, and talk to the proxy that it came from.

Its address holds a token, and whoever makes up such an address can put more into it: spice-html5 writes the ``title``
that it finds there into the page as HTML, and both clients go to any ``host`` that it names. https://www.w3.org/TR/CSP3/
"""

import base64
import hashlib
from html.parser import HTMLParser

REST = (
    "default-src 'self'; connect-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "media-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)


class _Scripts(HTMLParser):
    """Collects the scripts inside a page, those of its buttons included."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A script begins, or a tag has handlers."""
        self.found += [value for name, value in attrs if name.startswith("on") and value]
        self._inside = tag == "script"

    def handle_endtag(self, _tag: str) -> None:
        """Nothing lies inside a script."""
        self._inside = False

    def handle_data(self, data: str) -> None:
        """A script comes as one piece."""
        if self._inside:
            self.found.append(data)


def policy(page: str) -> str:
    """The Content-Security-Policy under which the page works, and nothing that was put into it later does."""
    scripts = _Scripts()
    scripts.feed(page.replace("\r\n", "\n"))
    scripts.close()
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts.found)
    allowed = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return f"{REST}; script-src 'self' 'unsafe-hashes' {allowed}".rstrip()
