"""Secrets stand readable nowhere, and are erased with their server; what is proven and asked of the past holds."""

import base64
from pathlib import Path

from tests.e2e.live_stack import LiveStack
from tests.waiting import wait_until

SERVERS = "/compute/v2.1/servers"
USER_DATA, PASSWORD, FILE = "planted-in-user-data", "planted-as-password", "planted-in-a-file"
ALL = [secret.encode() for secret in (USER_DATA, PASSWORD, FILE)]
PLANTED = ALL + [base64.b64encode(secret) for secret in ALL]


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def plant(stack: LiveStack) -> str:
    image = stack.call("GET", "/image/v2/images?name=tiny").json()["images"][0]["id"]
    network = stack.call("GET", "/network/v2.0/networks?name=private").json()["networks"][0]["id"]
    server = {
        "name": "keeper", "flavorRef": "42", "imageRef": image, "networks": [{"uuid": network}],
        "user_data": encoded(USER_DATA), "adminPass": PASSWORD,
        "personality": [{"path": "/etc/x", "contents": encoded(FILE)}],
    }  # fmt: skip
    answer = stack.call("POST", SERVERS, {"server": server}, OpenStack_API_Version="compute 2.50")
    assert answer.status == 202, answer
    server_id: str = answer.json()["server"]["id"]
    stack.await_status(server_id, "ACTIVE")
    return server_id


def told(stack: LiveStack, server: str, moment: str, exported: Path) -> dict[str, bytes]:
    """Everything that anybody is told, and everything that is written down."""
    found = {
        path: stack.call("GET", path, lightcurve_as_of=moment).body
        for path in (f"{SERVERS}/{server}", f"{SERVERS}/detail", f"{SERVERS}/{server}/os-instance-actions")
    }
    found |= {path: stack.call("GET", path).body for path in ("/audit/events", f"/audit/requests/{server}")}
    for words in (("log", server, "--bodies"), ("trace", server), ("at", moment, "server", server)):
        found[" ".join(words)] = stack.lightcurve(*words).stdout.encode()
    stack.lightcurve("log", "export", str(exported), "--format", "jsonl")
    for directory in (stack.directory, exported):
        found |= {str(file): file.read_bytes() for file in directory.rglob("*") if file.is_file()}
    return found


def test_secrets_stand_nowhere_and_are_erased(simulated: LiveStack, tmp_path: Path) -> None:
    stack, server = simulated, plant(simulated)
    moment = stack.call("GET", f"{SERVERS}/{server}", lightcurve_as_of="now").headers["lightcurve-position"]
    before = told(stack, server, moment, tmp_path / "before")
    assert [place for place, content in before.items() if any(secret in content for secret in PLANTED)] == []
    assert b"keeper" in before[f"log {server} --bodies"]
    assert b'"secrets": "v1.' in before[f"log {server} --bodies"]
    assert b"sealed     user data and passwords\n" in before[f"at {moment} server {server}"]

    assert stack.call("DELETE", f"{SERVERS}/{server}").status == 204
    wait_until(lambda: stack.show(server) is None, 30)
    after = told(stack, server, moment, tmp_path / "after")
    assert b"erasure.decided" in after[f"log {server} --bodies"]
    assert b"; erased 20" in after[f"at {moment} server {server}"]
    for path in (f"{SERVERS}/{server}", f"{SERVERS}/detail", f"{SERVERS}/{server}/os-instance-actions"):
        assert after[path] == before[path]
    stack.lightcurve("checkpoint")
    assert stack.lightcurve("verify").stdout.count(": whole.") == 2
    stack.lightcurve("rebuild", "servers")
    assert stack.call("GET", f"{SERVERS}/{server}", lightcurve_as_of=moment).body == before[f"{SERVERS}/{server}"]


def test_keys_outlive_their_servers_for_as_long_as_is_configured(simulated: LiveStack) -> None:
    stack, server = simulated, plant(simulated)
    config = stack.config_file.read_text()
    stack.restart(f"{config}\n[erasure]\nafter_seconds = 86400\n")
    assert stack.call("DELETE", f"{SERVERS}/{server}").status == 204
    wait_until(lambda: stack.show(server) is None, 30)
    assert "erasure.decided" not in stack.lightcurve("log", server).stdout
    who = stack.lightcurve("at", "now", "access", server).stdout
    assert "sealed; until they are erased, who has the cell's keys can read them." in who
    nobody = stack.lightcurve("at", "now", "server", "", check=False)
    assert (nobody.returncode, nobody.stderr) == (1, "lightcurve: Name a server, or give its id.\n")
    stack.restart(f"{config}\n[erasure]\nafter_seconds = 0.01\n")
    wait_until(lambda: "erasure.decided" in stack.lightcurve("log", server).stdout, 60)
