"""Users and projects are what the configuration file says now, unless it is broken."""

import asyncio
import logging
import re
from pathlib import Path

import pytest

from domain.errors import Refused
from ops.identity import LiveIdentity, project_id
from ops.roles.console import entitled
from ops.settings import load
from tests.aio import asynchronous

USERS = """
[identity]
projects = ["admin", "demo"]

[[identity.users]]
name = "root"
password_hash = "x"
[identity.users.roles]
admin = ["admin"]

[[identity.users]]
name = "amy"
password_hash = "x"
[identity.users.roles]
demo = ["member", "reader"]
"""
DEMO, ADMIN = project_id("demo"), project_id("admin")
CHANGES = {
    "her role": ('["member", "reader"]', '["reader"]'),
    "all her roles": ('demo = ["member", "reader"]\n', ""),
    "herself": (USERS[USERS.index('[[identity.users]]\nname = "amy"') :], ""),
    "the project": ('["admin", "demo"]', '["admin"]'),
    "her being enabled": ('name = "amy"', 'name = "amy"\nenabled = false'),
}


class Setting:
    """A configuration file with what follows it."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "lightcurve.toml"
        self.file.write_text(USERS)
        self.identity = LiveIdentity(load(self.file))
        self.may_see = entitled(self.identity.directory)
        self.amy = next(user.id for user in self.identity.settings.users if user.name == "amy")
        self.look()

    def look(self) -> bool:
        """Two looks: whether either found something new."""
        return any([self.identity.look(self.file), self.identity.look(self.file)])

    def write(self, text: str) -> None:
        """As editors do: another file takes its place."""
        written = self.file.with_suffix(".new")
        written.write_text(text)
        written.replace(self.file)

    def amy_sees(self) -> bool:
        return self.may_see(self.amy, DEMO, DEMO)


@pytest.mark.parametrize("lost", CHANGES)
def test_what_is_taken_from_a_user(tmp_path: Path, lost: str) -> None:
    here = Setting(tmp_path)
    assert here.amy_sees()
    before, after = CHANGES[lost]
    assert before in USERS
    here.write(USERS.replace(before, after))
    assert here.look()
    assert not here.amy_sees()
    here.write(USERS)
    assert here.look()
    assert here.amy_sees()


def test_who_may_see_which_console(tmp_path: Path) -> None:
    here = Setting(tmp_path)
    root = next(user.id for user in here.identity.settings.users if user.name == "root")
    assert here.may_see(root, ADMIN, DEMO), "an administrator sees all servers"
    assert not here.may_see(here.amy, DEMO, ADMIN)
    assert not here.may_see(root, DEMO, DEMO), "no role there"
    assert not here.may_see(None, None, DEMO)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (USERS[: USERS.index('"member"')], "not TOML"),
        (USERS.replace("password_hash", "pasword_hash"), "pasword_hash"),
        ("", "names no user"),
        (USERS[: USERS.index("[[")], "names no user"),
        ("[api]\nport = 70000\n" + USERS, "70000|65535"),
        (None, "no configuration file"),
    ],
)
def test_a_broken_file_changes_nothing(
    tmp_path: Path, text: str | None, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    here = Setting(tmp_path)
    if text is None:
        here.file.unlink()
    else:
        here.write(text)
    for _ in range(3):
        assert not here.look()
    assert here.amy_sees()
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "stay as they were" in record.getMessage()
    assert re.search(says, record.getMessage())
    here.write(USERS.replace('name = "amy"', 'name = "amy"\nenabled = false'))
    assert here.look()
    assert not here.amy_sees()


def test_a_file_that_is_still_written_is_let_be(tmp_path: Path) -> None:
    here = Setting(tmp_path)
    half = USERS[: USERS.index('[[identity.users]]\nname = "amy"')]
    for end in range(len(half), len(USERS), 10):
        here.file.write_text(USERS[:end])
        assert not here.identity.look(here.file)
    here.file.write_text(USERS)
    assert not here.look()
    assert here.amy_sees()


@asynchronous
async def test_a_change_is_told_within_a_second(tmp_path: Path) -> None:
    here = Setting(tmp_path)
    changed = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        following = group.create_task(here.identity.run(changed.set))
        await asyncio.sleep(0)
        here.write(USERS.replace("member", "observer"))
        async with asyncio.timeout(1.0):
            await changed.wait()
        assert not here.amy_sees()
        following.cancel()


@asynchronous
async def test_whoever_is_removed_while_the_password_is_checked_is_not_let_in(tmp_path: Path) -> None:
    from adapters.rest.identity.passwords import hash_password

    here = Setting(tmp_path)
    known = USERS.replace('"x"', f'"{hash_password("secret")}"')
    here.write(known)
    assert here.look()
    directory = here.identity.directory
    checking = asyncio.create_task(directory.authenticate(None, "amy", "secret"))
    await asyncio.sleep(0)
    here.write(known.replace('name = "amy"', 'name = "amy"\nenabled = false'))
    assert here.look()
    with pytest.raises(Refused):
        await checking
