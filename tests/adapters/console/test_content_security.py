"""What the pages of the web clients may do, and what nobody can make them do."""

import asyncio
import base64
import hashlib
from pathlib import Path
from urllib.parse import quote

from adapters.console.content_security import policy
from ops.web_clients import SPICE, web_client
from tests.adapters.console.site import site
from tests.aio import asynchronous
from tests.browser import Browser
from tests.real_libvirt import IMAGE_CACHE

EVIL = "<img id=evil src=nowhere onerror=\"document.title='owned'\">"


def digest(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def test_what_a_page_brings_is_allowed_and_nothing_else() -> None:
    page = """<script src="a.js"></script>text<script type=module>
    if (a && b < c) run("</b>")\r\n</script><button onclick="go(&quot;x&quot;)">go</button><script></script>"""
    allowed = policy(page).split("script-src ")[1].split()
    module = '\n    if (a && b < c) run("</b>")\n'
    assert set(allowed) == {"'self'", "'unsafe-hashes'", digest(module), digest('go("x")')}
    assert "'unsafe-inline'" not in " ".join(allowed)
    assert "connect-src 'self'" in policy("")


@asynchronous
async def test_html_in_a_pages_address_runs_nothing(tmp_path: Path) -> None:
    """spice-html5 writes its ``title`` into the page as it is."""
    async with site(tmp_path) as here:
        proxy = await here.proxy(spice_dir=await asyncio.to_thread(web_client, SPICE, IMAGE_CACHE.parent))
        url = f"http://127.0.0.1:{proxy.port}/spice/spice_auto.html?title={quote(EVIL)}"
        assert await asyncio.to_thread(_title, tmp_path, url) == "Spice Javascript client"


def _title(directory: Path, url: str) -> str:
    """The page's title once what was put into it has failed to load."""
    with Browser(directory) as browser:
        browser.open(url)
        browser.wait_for(lambda: browser.value("document.getElementById('evil')?.complete"))
        # What the image's failure leads to has been queued before this.
        browser.value("new Promise(done => setTimeout(done))")
        return str(browser.value("document.title"))
