"""A member who does all that a member may try, at once and without a pause, as a program of its own.

``python -m tests.e2e.hostile_tenant PORT TOKEN SECONDS`` prints as JSON how often each deed was answered with what.
Every deed is repeated by several connections until the time is over.
"""

import asyncio
import base64
import contextlib
import json
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from ops.bench.http import Client

COMPUTE, IMAGES, NETWORKS, TOKENS = (
    "/compute/v2.1",
    "/image/v2/images",
    "/network/v2.0/networks",
    "/identity/v3/auth/tokens",
)
SERVERS = f"{COMPUTE}/servers"
HOST, SOURCE = "127.0.0.1", ("127.0.0.66", 0)
"""Where the cloud is, and where all this comes from: what is bounded by address is not the others'."""
TIMEOUT_SECONDS = 30.0
IDLE_CONNECTIONS = 2_000
BIG = {f"k{number}": "v" * 255 for number in range(128)}
"""Some 33 KB of metadata; twice as much with names as long."""
HUGE = {f"k{number}".ljust(255, "k"): "v" * 255 for number in range(128)}
SLOW_EXPRESSION = r"^(a*)(a*)(a*)(a*)(a*)(a*)\1\2\3\4\5\6b$"
HOSTILE_TEXTS = (
    "\0",
    "\ud800",
    "a\r\nX: 1",
    "\u202e",
    "%",
    "{}",
    "(" * 3000,
    "x{4294967296}",
    "9" * 5000,
    "x" * 70_000,
)
HOSTILE_PATHS = ("%00", "%88", "%E6%97%A5", "%0d%0aX:1", "%7F", "..%2f..%2f", "x" * 4040, "%7B%7D", "9" * 5000)
HOSTILE_DOCUMENTS = (
    b"[" * 100_000,
    b'{"server":' * 1_000,
    b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    b"\xff\xfe",
    b'{"server": 1e400}',
    b'{"server": ' + b"9" * 5_000 + b"}",
    b"",
    b'{"server": "' + b"x" * 2_000_000 + b'"}',
)


PACE_SECONDS = 0.1
"""Between two attempts of a deed: so the attacker keeps some time for the others, and for being refused."""


class Gone(Exception):
    """The time is over."""


class Member:
    """What the deeds need: a token, a place to begin, and where the answers are counted."""

    def __init__(self, port: int, token: str, until: float) -> None:
        self.port = port
        self.token = token
        self.until = until
        self.answers: dict[str, Counter[str]] = defaultdict(Counter)
        self.image = self.network = self.server = ""

    def over(self) -> bool:
        return time.monotonic() > self.until

    async def ask(self, deed: str, client: Client, method: str, path: str, body: Any = None) -> Any:
        """One request; the body of its answer if it was taken, None otherwise."""
        if self.over():
            raise Gone
        try:
            answer = await asyncio.wait_for(client.request(method, path, body), TIMEOUT_SECONDS)
        except TimeoutError:
            self._lost(deed, client, "no answer")
            return None
        except (OSError, EOFError, ValueError, IndexError):
            self._lost(deed, client, "closed")
            return None
        self.answers[deed][str(answer.status)] += 1
        if answer.headers.get("connection") == "close":
            client.close()
        taken = answer.status < 300 and answer.body.startswith((b"{", b"["))
        return answer.json() if taken else None

    def _lost(self, deed: str, client: Client, how: str) -> None:
        self.answers[deed][how] += 1
        client.close()

    def client(self) -> Client:
        return Client(HOST, self.port, {"X-Auth-Token": self.token, "OpenStack-API-Version": "compute 2.90"}, SOURCE)

    async def begin(self) -> None:
        """Look for what servers are made of, and have one."""
        client = self.client()
        self.image = (await self.ask("begin", client, "GET", f"{IMAGES}?name=tiny"))["images"][0]["id"]
        self.network = (await self.ask("begin", client, "GET", f"{NETWORKS}?name=private"))["networks"][0]["id"]
        for server in (await self.ask("begin", client, "GET", SERVERS))["servers"]:
            await self.ask("begin", client, "DELETE", f"{SERVERS}/{server['id']}")
        while (await self.ask("begin", client, "GET", SERVERS))["servers"]:  # noqa: ASYNC110
            await asyncio.sleep(PACE_SECONDS)
        made = await self.ask("begin", client, "POST", SERVERS, self.wanted(name="a" * 255))
        self.server = made["server"]["id"]

    def wanted(self, **more: Any) -> dict[str, Any]:
        server = {"name": "h", "flavorRef": "42", "imageRef": self.image, "networks": [{"uuid": self.network}]}
        return {"server": server | more}


Deed = Callable[[Member, Client, random.Random], Awaitable[None]]


async def create(member: Member, client: Client, dice: random.Random) -> None:
    """Within the quota and beyond it, also many at once, and gone again at once."""
    name = create.__name__
    made = await member.ask(name, client, "POST", SERVERS, member.wanted(min_count=dice.choice((1, 1, 1, 10, 1000))))
    if made:
        listed = await member.ask(name, client, "GET", f"{SERVERS}?limit=1000")
        for server in (listed or {"servers": []})["servers"]:
            if server["id"] != member.server:
                await member.ask(name, client, "DELETE", f"{SERVERS}/{server['id']}")


async def read(member: Member, client: Client, dice: random.Random) -> None:
    path = dice.choice(
        (f"{SERVERS}/detail", SERVERS, f"{SERVERS}/{member.server}", f"{COMPUTE}/flavors/detail", IMAGES)
    )
    await member.ask("read", client, "GET", path)


async def hostile_values(member: Member, client: Client, dice: random.Random) -> None:
    text = dice.choice(HOSTILE_TEXTS)
    server = f"{SERVERS}/{member.server}"
    method, path, body = dice.choice(
        (
            ("POST", SERVERS, member.wanted(metadata={"k": text})),
            ("POST", SERVERS, member.wanted(name=text)),
            ("POST", SERVERS, member.wanted(tags=[text])),
            ("POST", SERVERS, member.wanted(personality=[{"path": text, "contents": ""}] * 6)),
            ("POST", SERVERS, member.wanted(user_data=text)),
            ("POST", f"{server}/metadata", {"metadata": {text: text}}),
            ("POST", f"{server}/action", {"lock": {"locked_reason": text}}),
            ("POST", f"{server}/action", {"os-getConsoleOutput": {"length": text}}),
            ("POST", f"{server}/action", {"rebuild": {"imageRef": member.image, "metadata": HUGE | {text: text}}}),
            ("PUT", server, {"server": {"name": text, "description": text}}),
            ("POST", IMAGES, {"name": text, "disk_format": "raw", "container_format": "bare", "p": text}),
            ("POST", NETWORKS, {"network": {"name": text}}),
            ("POST", f"{COMPUTE}/os-keypairs", {"keypair": {"name": text, "public_key": text}}),
        )
    )
    await member.ask("hostile values", client, method, path, body)


async def hostile_paths(member: Member, client: Client, dice: random.Random) -> None:
    part = dice.choice(HOSTILE_PATHS)
    method, path = dice.choice(
        (
            ("PUT", f"{SERVERS}/{member.server}/tags/{part}"),
            ("GET", f"{SERVERS}/{part}"),
            ("GET", f"{SERVERS}/{member.server}/os-instance-actions/{part}"),
            ("GET", f"{SERVERS}?name={part}"),
            ("GET", f"{SERVERS}?limit={part}"),
            ("GET", f"{SERVERS}?marker={part}"),
            ("GET", f"{IMAGES}/{part}"),
            ("GET", f"{NETWORKS}/{part}"),
            ("PUT", f"{COMPUTE}/os-quota-sets/{part}"),
        )
    )
    await member.ask("hostile paths", client, method, path, {} if method == "PUT" else None)


async def hostile_documents(member: Member, client: Client, dice: random.Random) -> None:
    path = dice.choice((SERVERS, IMAGES, NETWORKS, TOKENS, f"{SERVERS}/{member.server}/action"))
    await member.ask("hostile documents", client, "POST", path, dice.choice(HOSTILE_DOCUMENTS))


async def slow_expressions(member: Member, client: Client, _: random.Random) -> None:
    await member.ask("slow expressions", client, "GET", f"{SERVERS}?name={SLOW_EXPRESSION.replace(chr(92), '%5C')}")


async def many_sort_keys(member: Member, client: Client, _: random.Random) -> None:
    await member.ask("many sort keys", client, "GET", f"{SERVERS}?marker={member.server}&" + "sort_key=uuid&" * 1600)


async def big_metadata(member: Member, client: Client, dice: random.Random) -> None:
    body = {"metadata": dice.choice((BIG, HUGE)) | {"turn": str(dice.random())}}
    del body["metadata"][next(iter(body["metadata"]))]
    await member.ask("big metadata", client, "PUT", f"{SERVERS}/{member.server}/metadata", body)


async def small_changes(member: Member, client: Client, dice: random.Random) -> None:
    server = f"{SERVERS}/{member.server}"
    method, path, body = dice.choice(
        (
            ("PUT", server, {"server": {"name": f"a{dice.random()}"}}),
            ("PUT", f"{server}/tags/{dice.random()}", None),
            ("POST", f"{server}/metadata", {"metadata": {str(dice.random()): "v"}}),
            ("POST", f"{server}/action", {"reboot": {"type": "HARD"}}),
            ("POST", f"{server}/action", {dice.choice(("lock", "unlock", "unlock", "unlock")): None}),
        )
    )
    await member.ask("small changes", client, method, path, body)


async def images(member: Member, client: Client, dice: random.Random) -> None:
    properties = {f"p{number}": "x" * 60_000 for number in range(dice.choice((1, 15)))}
    body = {"name": "x", "disk_format": "raw", "container_format": "bare", **properties}
    made = await member.ask("images", client, "POST", IMAGES, body)
    if made and dice.random() < 0.9:
        await member.ask("images", client, "DELETE", f"{IMAGES}/{made['id']}")


async def networks(member: Member, client: Client, dice: random.Random) -> None:
    made = await member.ask("networks", client, "POST", NETWORKS, {"network": {"name": "n"}})
    if made and dice.random() < 0.9:
        await member.ask("networks", client, "DELETE", f"{NETWORKS}/{made['network']['id']}")


async def keypairs(member: Member, client: Client, dice: random.Random) -> None:
    name = f"k{dice.randrange(10**9)}"
    key = base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0 " + dice.randbytes(32)).decode()
    body = {"keypair": {"name": name, "public_key": f"ssh-ed25519 {key} {'c' * 200}", "type": "ssh"}}
    if await member.ask("keypairs", client, "POST", f"{COMPUTE}/os-keypairs", body) and dice.random() < 0.9:
        await member.ask("keypairs", client, "DELETE", f"{COMPUTE}/os-keypairs/{name}")


async def wrong_passwords(member: Member, client: Client, dice: random.Random) -> None:
    who = {"name": f"nobody{dice.randrange(1000)}", "domain": {"id": "default"}, "password": "p" * 4000}
    await member.ask(
        "wrong passwords", client, "POST", TOKENS, _log_in({"methods": ["password"], "password": {"user": who}})
    )


async def revoked_tokens(member: Member, client: Client, _: random.Random) -> None:
    """A token made of a token costs no password; each is revoked at once."""
    name = "revoked tokens"
    if member.over():
        raise Gone
    try:
        answer = await client.request("POST", TOKENS, _log_in({"methods": ["token"], "token": {"id": member.token}}))
    except (OSError, EOFError, ValueError):
        client.close()
        return
    member.answers[name][str(answer.status)] += 1
    if answer.status == 201:
        client.headers["X-Subject-Token"] = answer.headers["x-subject-token"]
        await member.ask(name, client, "DELETE", TOKENS)


async def consoles(member: Member, client: Client, _: random.Random) -> None:
    body = {"remote_console": {"protocol": "vnc", "type": "novnc"}}
    await member.ask("consoles", client, "POST", f"{SERVERS}/{member.server}/remote-consoles", body)


async def endless_upload(member: Member, client: Client, _: random.Random) -> None:
    """The bytes of an image, as many as are taken; given up after a while."""
    name = "endless upload"
    body = {"name": "endless", "disk_format": "raw", "container_format": "bare"}
    made = await member.ask(name, client, "POST", IMAGES, body)
    if made is None:
        await asyncio.sleep(PACE_SECONDS)
        return
    head = (
        f"PUT {IMAGES}/{made['id']}/file HTTP/1.1\r\nHost: h\r\nX-Auth-Token: {member.token}\r\n"
        "Content-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    piece = b"10000\r\n" + b"u" * 0x10000 + b"\r\n"
    with contextlib.suppress(OSError, EOFError):
        reader, writer = await asyncio.open_connection(HOST, member.port, local_addr=SOURCE)
        writer.write(head.encode())
        for _ in range(1000):
            writer.write(piece)
            await asyncio.wait_for(writer.drain(), TIMEOUT_SECONDS)
            await asyncio.sleep(0.01)  # slow on purpose: an upload that is held open costs more than one that is over
            if member.over() or reader.at_eof():
                break
        writer.close()
    member.answers[name]["given up"] += 1
    with contextlib.suppress(Gone):
        await member.ask(name, client, "DELETE", f"{IMAGES}/{made['id']}")


async def huge_heads(member: Member, _client: Client, _: random.Random) -> None:
    if member.over():
        raise Gone
    with contextlib.suppress(OSError, EOFError):
        reader, writer = await asyncio.open_connection(HOST, member.port, local_addr=SOURCE)
        writer.write(b"GET / HTTP/1.1\r\n")
        for number in range(200):
            writer.write(b"a%d: " % number + b"x" * 60_000 + b"\r\n")
            await asyncio.wait_for(writer.drain(), TIMEOUT_SECONDS)
        await reader.read()
        writer.close()
    member.answers["huge heads"]["closed"] += 1


DEEDS: dict[Deed, int] = {
    create: 8,
    read: 24,
    hostile_values: 4,
    hostile_paths: 4,
    hostile_documents: 3,
    slow_expressions: 12,
    many_sort_keys: 2,
    big_metadata: 4,
    small_changes: 4,
    images: 4,
    networks: 2,
    keypairs: 2,
    wrong_passwords: 12,
    revoked_tokens: 4,
    consoles: 2,
    endless_upload: 2,
    huge_heads: 2,
}
"""By how many connections each is done at once."""


async def _repeat(member: Member, deed: Deed, seed: int) -> None:
    client, dice = member.client(), random.Random(seed)
    with contextlib.suppress(Gone):
        while not member.over():
            await deed(member, client, dice)
    client.close()


async def _idle(member: Member) -> None:
    """Connections that say nothing, or begin a head and never end it; another for each that was closed."""
    held: list[asyncio.StreamWriter] = []
    while not member.over():
        held = [writer for writer in held if not writer.is_closing()]
        with contextlib.suppress(OSError):
            while len(held) < IDLE_CONNECTIONS and not member.over():
                _, writer = await asyncio.open_connection(HOST, member.port, local_addr=SOURCE)
                writer.write(b"GET / HTTP/1.1\r\na: " if len(held) % 2 else b"")
                held.append(writer)
                if len(held) % 100 == 0:
                    await asyncio.sleep(PACE_SECONDS)
        member.answers["idle connections"]["held at most"] = max(
            member.answers["idle connections"]["held at most"], len(held)
        )
        await asyncio.sleep(10 * PACE_SECONDS)
    for writer in held:
        writer.close()


def _log_in(identity: dict[str, Any]) -> dict[str, Any]:
    return {"auth": {"identity": identity}}


def _tasks(member: Member) -> Iterator[Awaitable[None]]:
    yield _idle(member)
    for deed, times in DEEDS.items():
        for number in range(times):
            yield _repeat(member, deed, number)


async def main(port: int, token: str, seconds: float) -> None:
    member = Member(port, token, time.monotonic() + seconds)
    await member.begin()
    await asyncio.gather(*_tasks(member))
    print(json.dumps(member.answers))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3])))
