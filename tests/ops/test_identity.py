"""Users and projects are what the log says; what is new in the configuration file gets there, unless it is broken."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from adapters.rest.identity.passwords import hash_password
from domain.errors import Invalid, Refused
from domain.log.record import Event
from domain.neighbours.identity.events import ProjectChanged, RoleTaken, UserChanged, UserCreated, UserDeleted
from domain.neighbours.identity.state import DOMAIN, KIND
from handlers.log.registry import Registry
from ops.identity import LiveIdentity, project_id
from ops.identity_commands import let_in
from ops.roles.console import entitled
from ops.settings import load
from tests.aio import asynchronous
from tests.cell import Cell
from tests.waiting import until

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
    """A configuration file with a process that follows it, on a log in memory."""

    def __init__(self, directory: Path, cell: Cell | None, *, tells: bool, text: str) -> None:
        self.file = directory / "lightcurve.toml"
        self.file.write_text(text)
        self.cell = cell or Cell()
        self.registry = Registry(self.cell.store, self.cell.stamp, [KIND])
        self.identity = LiveIdentity(load(self.file), self.registry, self.cell.vault, self.cell.stamp, tells=tells)
        self.may_see = entitled(self.identity.directory)
        self.amy = next(user.id for user in self.identity.settings.users if user.name == "amy")

    async def look(self) -> bool:
        """Two looks: whether either found something new."""
        return any([await self.identity.look(self.file), await self.identity.look(self.file)])

    async def do(self, event: Event) -> None:
        """What an administrator has decided."""
        await self.identity.people.execute(self.cell.stamp.own_context(), lambda _: event)

    def write(self, text: str) -> None:
        """As editors do: another file takes its place."""
        written = self.file.with_suffix(".new")
        written.write_text(text)
        written.replace(self.file)

    def amy_sees(self) -> bool:
        return self.may_see(self.amy, DEMO, DEMO)


@asynccontextmanager
async def process(
    directory: Path, cell: Cell | None = None, *, tells: bool = True, text: str = USERS
) -> AsyncIterator[Setting]:
    here = Setting(directory, cell, tells=tells, text=text)
    following = asyncio.create_task(here.registry.run())
    await here.identity.start()
    await here.look()
    yield here
    following.cancel()


@pytest.mark.parametrize("lost", CHANGES)
@asynchronous
async def test_what_is_taken_from_a_user(tmp_path: Path, lost: str) -> None:
    async with process(tmp_path) as here:
        assert here.amy_sees()
        before, after = CHANGES[lost]
        assert before in USERS
        here.write(USERS.replace(before, after))
        assert await here.look()
        assert not here.amy_sees()
        here.write(USERS)
        assert await here.look()
        assert here.amy_sees()


@asynchronous
async def test_what_was_changed_otherwise_outlives_a_restart_until_the_file_is_another(tmp_path: Path) -> None:
    async with process(tmp_path) as here:
        cell = here.cell
        await here.do(UserChanged(user_id=here.amy, enabled=False))
        assert not here.amy_sees()
    async with process(tmp_path, cell) as here:
        assert not here.amy_sees()
        assert not await here.look()
    renewed = USERS.replace('"x"\n[identity.users.roles]\ndemo', '"y"\n[identity.users.roles]\ndemo')
    async with process(tmp_path, cell, text=renewed) as here:
        assert not here.amy_sees(), "another password enables nobody"
        here.write(USERS.replace('name = "amy"', 'name = "amy"\nenabled = false'))
        assert await here.look()
        here.write(USERS)
        assert await here.look()
        assert here.amy_sees()


@asynchronous
async def test_a_file_that_leaves_no_administrator_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with process(tmp_path) as here:
        # Half of a file can be well-formed, and name somebody who is enabled.
        here.write(USERS.replace('admin = ["admin"]', 'admin = ["reader"]'))
        assert not await here.look()
        assert "would leave no administrator" in caplog.text
        assert here.amy_sees()


@asynchronous
async def test_names_that_somebody_else_has_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with process(tmp_path) as here:
        await here.do(UserCreated(user_id="other", name="bob", credential_version="c"))
        bob = '[[identity.users]]\nname = "bob"\npassword_hash = "z"\n[identity.users.roles]\ndemo = ["member"]\n'
        here.write(USERS + bob)
        assert await here.look() is False
        assert "passed over: bob" in caplog.text


@asynchronous
async def test_who_was_deleted_does_not_come_back_with_a_restart(tmp_path: Path) -> None:
    async with process(tmp_path) as here:
        cell = here.cell
        await here.do(UserDeleted(user_id=here.amy))
    async with process(tmp_path, cell) as here:
        assert here.amy not in here.identity.directory.users
        assert len(await cell.store.load(DOMAIN)) == 2


@asynchronous
async def test_every_process_knows_and_one_of_them_tells(tmp_path: Path) -> None:
    other_place = tmp_path / "other"
    other_place.mkdir()
    async with process(tmp_path) as here, process(other_place, here.cell, tells=False, text=USERS) as other:
        assert other.amy_sees()
        other.write(USERS.replace('name = "amy"', 'name = "amy"\nenabled = false'))
        await other.identity.run()
        assert here.amy_sees()
        here.write(USERS.replace('name = "amy"', 'name = "amy"\nenabled = false'))
        assert await here.look()
        await until(lambda: not other.amy_sees())


@asynchronous
async def test_whoever_is_first_tells_what_the_file_says(tmp_path: Path) -> None:
    async with process(tmp_path, tells=False) as here:
        assert here.amy_sees()
        assert {user.id for user in here.identity.settings.users} == here.identity.directory.users.keys()


@asynchronous
async def test_no_hash_lies_open_in_the_log(tmp_path: Path) -> None:
    stored = hash_password("secret")
    async with process(tmp_path, text=USERS.replace('"x"', f'"{stored}"')) as here:
        (recorded,) = await here.cell.store.load(DOMAIN)
        assert stored not in repr(recorded)
        assert (await here.identity.directory.authenticate(here.amy, None, "secret")).name == "amy"


@asynchronous
async def test_who_may_see_which_console(tmp_path: Path) -> None:
    async with process(tmp_path) as here:
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
@asynchronous
async def test_a_broken_file_changes_nothing(
    tmp_path: Path, text: str | None, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with process(tmp_path) as here:
        if text is None:
            here.file.unlink()
        else:
            here.write(text)
        for _ in range(3):
            assert not await here.look()
        assert here.amy_sees()
        (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert "stay as they were" in record.getMessage()
        assert re.search(says, record.getMessage())
        here.write(USERS.replace('name = "amy"', 'name = "amy"\nenabled = false'))
        assert await here.look()
        assert not here.amy_sees()


@asynchronous
async def test_a_file_that_is_still_written_is_let_be(tmp_path: Path) -> None:
    async with process(tmp_path) as here:
        half = USERS[: USERS.index('[[identity.users]]\nname = "amy"')]
        for end in range(len(half), len(USERS), 10):
            here.file.write_text(USERS[:end])
            assert not await here.identity.look(here.file)
        here.file.write_text(USERS)
        assert not await here.look()
        assert here.amy_sees()


@asynchronous
async def test_a_change_is_told_within_a_second(tmp_path: Path) -> None:
    async with process(tmp_path) as here:
        following = asyncio.create_task(here.identity.run())
        await asyncio.sleep(0)
        here.write(USERS.replace("member", "observer"))
        async with asyncio.timeout(1.0):
            await until(lambda: not here.amy_sees())
        following.cancel()


@asynchronous
async def test_whoever_is_removed_while_the_password_is_checked_is_not_let_in(tmp_path: Path) -> None:
    known = USERS.replace('"x"', f'"{hash_password("secret")}"')
    async with process(tmp_path, text=known) as here:
        checking = asyncio.create_task(here.identity.directory.authenticate(None, "amy", "secret"))
        await asyncio.sleep(0)
        await here.do(UserChanged(user_id=here.amy, enabled=False))
        with pytest.raises(Refused):
            await checking


@asynchronous
async def test_whoever_is_locked_out_is_let_in_again(tmp_path: Path) -> None:
    async with process(tmp_path) as here:
        directory, people = here.identity.directory, here.identity.people
        state = people.state
        assert state is not None
        (root,) = state.administrators
        (role_id,) = root.roles[ADMIN]
        await here.do(UserChanged(user_id=root.id, enabled=False))
        await here.do(ProjectChanged(project_id=ADMIN, enabled=False))
        await here.do(RoleTaken(user_id=root.id, project_id=ADMIN, role_id=role_id))
        context = here.cell.stamp.own_context()
        for name, project in (("nobody", None), ("root", "none")):
            with pytest.raises(Invalid, match="There is no"):
                await let_in(people, context, name, "new-secret", project)
        for _ in range(2):
            await let_in(people, context, "root", "new-secret", "admin")
        assert (await directory.authenticate(None, "root", "new-secret")).id == root.id
        assert "admin" in directory.roles(root.id, ADMIN)
