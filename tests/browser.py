"""A real Chromium without a window, driven by its DevTools protocol: https://chromedevtools.github.io/devtools-protocol/."""

import base64
import itertools
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Self

import websocket

from tests.waiting import wait_until

START_SECONDS = 60.0
ANSWER_SECONDS = 60.0
SCREEN_BYTES = 3000
"""A canvas with text takes more, an empty one less."""
ANSWER_BYTES = 100
"""A picture does not grow so much of a cursor that blinks."""
TAKES_KEYS = (
    "(canvas => canvas && (!canvas.sc || canvas.sc.inputs?.state == 'ready'))(document.querySelector('canvas'))"
)
"""SPICE shows its screen before the channel for the keyboard is there."""
# As root Chromium has no sandbox; the other switches keep it from talking to anybody but the page.
SWITCHES = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--remote-debugging-port=0"),
    *("--disable-extensions", "--remote-allow-origins=*", "--window-size=900,560"),
)


class Browser:
    """One page."""

    def __init__(self, directory: Path) -> None:
        self._dir = directory / "chromium"
        self._scratch = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        self._numbers = itertools.count(1)

    def __enter__(self) -> Self:
        program = shutil.which("chromium") or shutil.which("chromium-browser")
        assert program, "chromium is missing: see ops/test-packages.txt"
        self._process = subprocess.Popen(
            [program, *SWITCHES, f"--user-data-dir={self._dir}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # It leaves files there, and a socket, whose path must be short.
            env={**os.environ, "TMPDIR": self._scratch.name},
        )
        try:
            self._attach()
        except BaseException:
            self._end()
            raise
        return self

    def _attach(self) -> None:
        port_file = self._dir / "DevToolsActivePort"
        self.wait_for(lambda: port_file.exists() and len(port_file.read_text().split()) == 2, START_SECONDS)
        port, path = port_file.read_text().split()
        self._socket = websocket.create_connection(f"ws://127.0.0.1:{port}{path}", timeout=ANSWER_SECONDS)
        self._session: str | None = None
        pages = self.call("Target.getTargets")["targetInfos"]
        target = next(page["targetId"] for page in pages if page["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._end()

    def _end(self) -> None:
        self._process.terminate()
        self._process.wait(10)
        self._scratch.cleanup()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv())
            if answer.get("id") == number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    def value(self, expression: str) -> Any:
        """What JavaScript says in the page."""
        return self.call("Runtime.evaluate", expression=expression, awaitPromise=True)["result"].get("value")

    def text(self, element_id: str) -> str:
        return str(self.value(f"document.getElementById('{element_id}')?.textContent ?? ''"))

    def type(self, text: str) -> None:
        """As a user does, key by key; a line feed is the Enter key."""
        for letter in text:
            code = {"\n": ("Enter", "Enter", 13), " ": (" ", "Space", 32), "-": ("-", "Minus", 189)}.get(
                letter, (letter, f"Key{letter.upper()}", ord(letter.upper()))
            )
            key = {"key": code[0], "code": code[1], "windowsVirtualKeyCode": code[2]}
            typed = {} if letter == "\n" else {"text": letter}
            self.call("Input.dispatchKeyEvent", type="keyDown", **key, **typed)
            self.call("Input.dispatchKeyEvent", type="keyUp", **key)

    def click(self, x: int, y: int) -> None:
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def screenshot(self) -> bytes:
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def canvas(self) -> str:
        """What the page's canvas shows, as text to compare."""
        return str(self.value("document.querySelector('canvas')?.toDataURL() ?? ''"))

    def use_shell(self, picture: Path) -> None:
        """Type into a guest's shell that the page shows, keep a picture of its answer, and have it power off."""
        self.wait_for(lambda: len(self.canvas()) > SCREEN_BYTES and self.value(TAKES_KEYS))
        self.click(300, 200)
        self._type_and_see("echo hello there")
        before = len(self.canvas())
        self.type("\n")
        self.wait_for(lambda: len(self.canvas()) > before + ANSWER_BYTES)
        picture.write_bytes(self.screenshot())
        self._type_and_see("poweroff -f")
        self.type("\n")

    def _type_and_see(self, text: str) -> None:
        """As fast as the guest draws it: a PC's keyboard forgets keys that nobody fetches."""
        for letter in text:
            before = self.canvas()
            self.type(letter)
            self.wait_for(lambda before=before: self.canvas() != before)

    @staticmethod
    def wait_for(condition: Any, seconds: float = 30.0) -> None:
        wait_until(condition, seconds)
