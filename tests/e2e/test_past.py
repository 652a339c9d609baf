"""The past, asked of a real stack: by the API with a time and with positions, and by the command line."""

from tests.e2e.live_stack import LiveStack

SERVERS = "/compute/v2.1/servers"
POSITION = "lightcurve-position"


def test_a_server_that_is_gone_is_seen_as_it_was(stack: LiveStack) -> None:
    server = stack.create("before")
    try:
        stack.await_status(server, "ACTIVE")
        path = f"{SERVERS}/{server}"
        then = stack.call("GET", f"{SERVERS}/detail?name=before", lightcurve_as_of="now")
        moment = then.headers[POSITION]
        shown = stack.call("GET", path, lightcurve_as_of=moment)
        provider = stack.openstack_json("resource", "provider", "list")[0]["uuid"]
        stack.openstack("server", "set", "--name", "after", server)
        stack.openstack("server", "stop", server)
        stack.await_status(server, "SHUTOFF")
        between = stack.call("GET", path, lightcurve_as_of="now").headers[POSITION]
        stack.openstack("server", "delete", "--wait", server)
        assert stack.call("GET", path).status == 404

        assert stack.call("GET", path, lightcurve_as_of=moment).body == shown.body
        assert stack.call("GET", f"{SERVERS}/detail?name=before", lightcurve_as_of=moment).body == then.body
        assert shown.json()["server"]["status"] == "ACTIVE"
        actions = stack.call("GET", f"{path}/os-instance-actions", lightcurve_as_of=moment).json()["instanceActions"]
        assert [action["action"] for action in actions] == ["create"]

        assert server in stack.lightcurve("at", moment, "servers").stdout
        told = stack.lightcurve("at", between, "server", "after").stdout
        assert "SHUTOFF" in told
        assert [line.split()[0] for line in told.splitlines() if "Success" in line] == ["create", "stop"]
        host = shown.json()["server"]["OS-EXT-SRV-ATTR:host"]
        assert server in stack.lightcurve("at", moment, "host", host).stdout
        assert server in stack.lightcurve("at", moment, "claims", provider).stdout
        assert server not in stack.lightcurve("at", "now", "claims", provider).stdout
        assert "admin" in stack.lightcurve("at", moment, "usages").stdout
        changes = stack.lightcurve("diff", moment, between, "--server", server).stdout
        assert "status: ACTIVE -> SHUTOFF" in changes
        assert "name: before -> after" in changes
        assert "was deleted" in stack.lightcurve("diff", moment, "--server", server).stdout
        told = stack.call("GET", f"/audit/events?type=server.&server_id={server}").json()
        assert [event["type"] for event in told][:3] == ["server.requested", "server.placed", "server.built"]
        (create,) = [event["requestid"] for event in told if event["type"] == "server.requested"]
        (tree,) = stack.call("GET", f"/audit/requests/{create}").json()["requests"]
        assert tree["branches"][0]["id"] == server
        assert "ledger.changed/claimed" in stack.lightcurve("trace", create).stdout
        refused = stack.lightcurve("diff", between, moment, check=False)
        assert (refused.returncode, "Traceback" in refused.stderr) == (1, False)
    finally:
        stack.delete_all()
