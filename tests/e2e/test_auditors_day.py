"""An auditor's day on a real stack: each question is one command, answered as ``ops/docs/audit.md`` shows it."""

import base64
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from tests.e2e.guests import remote_console, terminal
from tests.e2e.live_stack import LiveStack, wait_until

ROOT = Path(__file__).parents[2]
NAME = "books"
"""Of the server, here and on the page."""
SAME = (
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID"),
    (r"\d{4}-\d\d-\d\d( \d\d:\d\d(:\d\d(\.\d+)?)?)?", "TIME"),
    (r"console/[0-9a-f]+", "console/ID"),
    (r"lightcurve/\S+?/", "lightcurve/ORIGIN/"),
    (r"\d[\d,.]*", "N"),
    (r"N min|N h", "N s"),
    (r" +", " "),
)
"""What is different each time."""


class Question(NamedTuple):
    """A command of the page, and its output there."""

    words: list[str]
    shown: str


def page() -> list[Question]:
    text = (ROOT / "ops" / "docs" / "audit.md").read_text()
    day = text.partition("## An auditor's day")[2].partition("\n## ")[0]
    found = re.findall(r"^\$ lightcurve (.*)\n((?:(?!\$ |```).*\n)*)", day, re.MULTILINE)
    return [Question(shlex.split(command), output) for command, output in found]


def alike(text: str) -> list[str]:
    for pattern, name in SAME:
        text = re.sub(pattern, name, text)
    return [line.strip() for line in text.splitlines() if line.strip()]


def day_of(stack: LiveStack) -> tuple[str, str, str]:
    """Something to ask about: the host, when it began, when it ended."""
    began = datetime.now(UTC)
    member = stack.token("demo", "demo")
    server = stack.create(NAME, token=member, user_data=base64.b64encode(b"#!/bin/sh").decode())
    host = stack.await_status(server, "ACTIVE")["OS-EXT-SRV-ATTR:host"]
    with terminal(remote_console(stack, server, "serial")):
        pass
    wait_until(lambda: "closed" in stack.lightcurve("consoles", "--all", "--server", server).stdout, 20)
    assert stack.call("DELETE", f"/compute/v2.1/servers/{server}", token=member).status == 204
    wait_until(lambda: stack.show(server) is None, 30)
    wait_until(lambda: "erasure.decided" in stack.lightcurve("log", server).stdout, 30)
    ended = datetime.now(UTC)
    stack.lightcurve("checkpoint")
    return host, began.isoformat(), ended.isoformat()


def test_each_question_is_one_command(stack: LiveStack, tmp_path: Path) -> None:
    host, began, ended = day_of(stack)
    keys = stack.lightcurve("checkpoint", "--key").stdout.split()
    asked = page()
    assert [question.words[0] for question in asked] == ["log", "diff", "consoles", "at", "at", "verify", "log"]
    for question in asked:
        times = iter((began, ended))
        words = [next(times) if re.fullmatch(r"\d{4}-\d\d-\d\d.*", word) else word for word in question.words]
        words = [str(tmp_path) if word == "evidence" else host if word == "node1" else word for word in words]
        told = stack.lightcurve(*words).stdout.replace(str(tmp_path), "evidence")
        assert alike(re.sub(rf"\b{host}\b", "node1", told)) == alike(question.shown), " ".join(words) + "\n" + told
    small = [sys.executable, ROOT / "ops" / "verifier" / "verify_log.py", tmp_path / "cell1.part.jsonl.zst", *keys]
    checked = subprocess.run(small, capture_output=True, text=True, check=False)
    assert (checked.returncode, "is in the log that was signed" in checked.stdout) == (0, True), checked
