"""Names, metadata, tags and locks, by the unmodified client."""

from tests.e2e.live_stack import LiveStack


def test_details_and_lists_by_them(stack: LiveStack) -> None:
    server = stack.create("plain")
    try:
        address = stack.await_status(server, "ACTIVE")["addresses"]["private"][0]["addr"]
        stack.openstack("server", "set", "--name", "named", "--description", "the one", server)
        stack.openstack("server", "set", "--property", "a=1", "--property", "b=2", "--tag", "blue", server)
        stack.openstack("server", "unset", "--property", "a", server)
        stack.openstack("server", "lock", "--reason", "payday", server)
        shown = stack.openstack_json("--os-compute-api-version", "2.96", "server", "show", server)
        assert (shown["name"], shown["description"]) == ("named", "the one")
        assert (shown["properties"], shown["tags"]) == ({"b": "2"}, ["blue"])
        assert (shown["locked"], shown["locked_reason"]) == (True, "payday")
        for found, options in (
            (True, ("--tags", "blue")),
            (False, ("--tags", "red")),
            (True, ("--not-tags", "red")),
            (True, ("--locked",)),
            (False, ("--unlocked",)),
            (True, ("--ip", f"^{address}$")),
            (False, ("--ip", "^192")),
        ):
            listed = stack.openstack_json("--os-compute-api-version", "2.96", "server", "list", *options)
            assert (server in [each["ID"] for each in listed]) is found, options
        # A lock holds its owner, and no administrator.
        token = stack.token("demo", "demo")
        held = stack.create("held", token=token)
        stack.call("POST", f"/compute/v2.1/servers/{held}/action", {"lock": None}, token=token)
        assert stack.call("DELETE", f"/compute/v2.1/servers/{held}", token=token).status == 409
        stack.openstack("server", "delete", "--wait", held)
    finally:
        stack.openstack("server", "unlock", server, check=False)
        stack.delete_all()
