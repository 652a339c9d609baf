"""Key names, addresses and descriptions are sealed where the operator says so: servers are found by them as
before, no log, archive, export or process's log has them, and they are erased with their server."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from psycopg import sql

from ops.stack import Stack
from projections.postgres import connect
from tests.e2e.live_stack import LiveStack
from tests.waiting import wait_until

SERVERS = "/compute/v2.1/servers"
KEYPAIR, DESCRIPTION, ACCESS, LATER = "planted-key", "planted words", "198.51.100.177", "planted since"
PUBLIC = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHlvdSB3aWxsIG5vdCBmaW5kIG1lIGluIGFueSBsb2ch planted-comment"
SEAL = '\n[erasure]\nafter_seconds = {seconds}\nseal = ["keypairs", "addresses", "descriptions"]\n'
TABLES = ("servers", "server_versions", "console_sessions", "instance_actions", "event_log")


@pytest.fixture(scope="module")
def sealing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStack]:
    live = LiveStack(tmp_path_factory.mktemp("stack"), "--simulated-hosts", "3")
    try:
        live.up()
        live.restart(live.config_file.read_text() + SEAL.format(seconds=86400))
        yield live
    finally:
        live.down()


def found(stack: LiveStack, question: str, moment: str | None = None) -> list[str]:
    headers = {"lightcurve_as_of": moment} if moment else {}
    answer = stack.call("GET", f"{SERVERS}?{question}", **headers)
    assert answer.status == 200, answer
    return [server["id"] for server in answer.json()["servers"]]


def words(address: str) -> list[bytes]:
    return [text.encode() for text in (KEYPAIR, DESCRIPTION, ACCESS, LATER, address, "planted-comment")]


def written_down(stack: LiveStack, exported: Path) -> dict[str, bytes]:
    """The messages of the logs as they lie on the disk, snapshots, the processes' logs, an export, the archive."""
    stack.lightcurve("log", "export", str(exported), "--format", "jsonl")
    streams = [path for path in (stack.directory / "nats").rglob("streams/*") if "COMMANDS" not in path.name]
    assert any(path.name == "CELL_cell1" for path in streams)
    files = [file for place in (*streams, stack.directory / "log", exported) for file in place.rglob("*")]
    found = {str(file): file.read_bytes() for file in files if file.is_file()}
    return found | asyncio.run(rows(stack, ("archive",)))


async def rows(stack: LiveStack, tables: tuple[str, ...]) -> dict[str, bytes]:
    """Tables of the read database, each as text."""
    async with await connect(Stack(stack.directory).settings().database.url, "test") as connection:
        found = {}
        for table in tables:
            query = "SELECT encode(body, 'escape') FROM {}" if table == "archive" else "SELECT t::text FROM {} t"
            cursor = await connection.execute(sql.SQL(query + " ORDER BY 1").format(sql.Identifier(table)))
            found[table] = "\n".join(row[0] for row in await cursor.fetchall()).encode()
        return found


def planted(stack: LiveStack) -> tuple[str, str]:
    """The id of a server with all of it, and its address."""
    key = {"name": KEYPAIR, "public_key": PUBLIC, "type": "ssh"}
    answer = stack.call("POST", "/compute/v2.1/os-keypairs", {"keypair": key})
    assert answer.status == 201, answer
    wish = {"key_name": KEYPAIR, "description": DESCRIPTION, "accessIPv4": ACCESS}
    server = stack.create("keeper", **wish)
    address = stack.await_status(server, "ACTIVE")["addresses"]["private"][0]["addr"]
    return server, address


def test_sealed_texts_are_found_by_and_erased(sealing: LiveStack, tmp_path: Path) -> None:
    stack, (server, address) = sealing, planted(sealing)
    other = stack.create("other")
    stack.await_status(other, "ACTIVE")
    moment = stack.call("GET", f"{SERVERS}/{server}", lightcurve_as_of="now").headers["lightcurve-position"]
    assert stack.call("PUT", f"{SERVERS}/{server}", {"server": {"description": LATER}}).status == 200
    for question, when in (
        (f"description={LATER.split()[1]}", None), (f"description={DESCRIPTION.split()[1]}", moment),
        (f"ip=^{address}$", None), (f"ip=^{address}$", moment),
        (f"key_name={KEYPAIR}", None), (f"key_name={KEYPAIR}", moment),
    ):  # fmt: skip
        assert found(stack, quote(question, safe="=&"), when) == [server], question
    ordered = found(stack, "sort_key=key_name&sort_dir=asc")
    assert ordered == found(stack, "sort_key=key_name&sort_dir=asc", "now")
    past = stack.call("GET", f"{SERVERS}/{server}", lightcurve_as_of=moment).json()["server"]
    assert (past["description"], past["key_name"], past["accessIPv4"]) == (DESCRIPTION, KEYPAIR, ACCESS)
    before = written_down(stack, tmp_path / "before")
    assert [(place, word) for place, content in before.items() for word in words(address) if word in content] == []
    assert b'"description":"sealed:v1.' in before["archive"]

    assert stack.call("DELETE", f"{SERVERS}/{server}").status == 204
    wait_until(lambda: stack.show(server) is None, 30, "the server is gone")
    deleted = f"description={quote(LATER)}&deleted=true&all_tenants=1"
    assert found(stack, deleted) == [server], "its key lives"
    stack.restart(stack.config_file.read_text().replace("86400", "0.01"))
    wait_until(lambda: "erasure.decided" in stack.lightcurve("log", server).stdout, 60, "it is erased")
    wait_until(lambda: found(stack, deleted) == [], 30, "no row tells of it")
    after = asyncio.run(rows(stack, TABLES))
    assert [(table, word) for table, text in after.items() for word in words(address) if word in text] == []
    past = stack.call("GET", f"{SERVERS}/{server}", lightcurve_as_of=moment).json()["server"]
    assert all(past[field].startswith("erased:") for field in ("description", "key_name", "accessIPv4"))
    assert past["addresses"]["private"][0]["addr"].startswith("erased:")
    told = stack.lightcurve("at", moment, "server", server).stdout
    assert "erased:" in told
    assert "; erased 20" in told
    check_that_the_proof_holds(stack, after)


def check_that_the_proof_holds(stack: LiveStack, after: dict[str, bytes]) -> None:
    stack.lightcurve("checkpoint")
    assert stack.lightcurve("verify").stdout.count(": whole.") == 2
    anew = stack.lightcurve("verify", "--redecide", check=False)
    assert anew.returncode == 0, anew.stdout
    for projection in ("servers", "console_sessions"):
        stack.lightcurve("rebuild", projection)
    again = asyncio.run(rows(stack, TABLES))
    # Checkpoints have been recorded meanwhile.
    assert {table: text for table, text in again.items() if table != "event_log"} == {
        table: text for table, text in after.items() if table != "event_log"
    }
