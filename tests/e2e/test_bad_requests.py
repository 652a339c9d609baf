"""Bad requests get Nova's status and body, and nothing is lost."""

from typing import Any

import pytest

from tests.e2e.live_stack import Answer, LiveStack

SERVERS = "/compute/v2.1/servers"
UNKNOWN = "00000000-0000-4000-8000-000000000000"


def _wanted(stack: LiveStack, **changes: Any) -> dict[str, Any]:
    image = stack.call("GET", "/image/v2/images?name=tiny").json()["images"][0]["id"]
    return {"server": {"name": "bad", "flavorRef": "42", "imageRef": image, "networks": "none"} | changes}


def _fault(answer: Answer) -> tuple[int, str, int]:
    """Status, Nova's name of the fault, and the code inside, which has to be the same."""
    ((name, fault),) = answer.json().items()
    assert fault["message"]
    return answer.status, name, fault["code"]


@pytest.mark.parametrize(
    "changes",
    [
        {"colour": "blue"},
        {"name": 7},
        {"name": "x" * 256},
        {"name": ""},
        {"flavorRef": "no-such-flavor"},
        {"imageRef": UNKNOWN},
        {"networks": [{"uuid": UNKNOWN}]},
        {"networks": 3},
        {"min_count": 0},
        {"min_count": 3, "max_count": 2},
        {"metadata": {"k": "v" * 256}},
        {"key_name": "no-such-key"},
    ],
    ids=str,
)
def test_a_bad_body(stack: LiveStack, changes: dict[str, Any]) -> None:
    assert _fault(stack.call("POST", SERVERS, _wanted(stack, **changes))) == (400, "badRequest", 400)


@pytest.mark.parametrize("body", [b"{", b"[]", b"nonsense", b'{"server": 1}', b"{}", b'{"server": {}, "more": 1}'])
def test_a_body_that_is_none(stack: LiveStack, body: bytes) -> None:
    assert _fault(stack.call("POST", SERVERS, body)) == (400, "badRequest", 400)


def test_a_body_of_two_megabytes(stack: LiveStack) -> None:
    answer = stack.call("POST", SERVERS, b'{"server": "' + b"x" * 2_000_000 + b'"}')
    assert answer.status == 413


def test_no_token(stack: LiveStack) -> None:
    answer = stack.call("GET", SERVERS, token="")
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Keystone uri=")


def test_a_forged_token(stack: LiveStack) -> None:
    assert stack.call("GET", SERVERS, token="x" * 200).status == 401


def test_someone_elses_server_is_not_there(stack: LiveStack) -> None:
    server_id = stack.create("mine")
    try:
        demo = stack.token("demo", "demo")
        for method, path, body in (
            ("GET", f"{SERVERS}/{server_id}", None),
            ("DELETE", f"{SERVERS}/{server_id}", None),
            ("POST", f"{SERVERS}/{server_id}/action", {"os-stop": None}),
            ("GET", f"{SERVERS}/{server_id}/os-instance-actions", None),
        ):
            answer = stack.call(method, path, body, token=demo)
            assert _fault(answer) == (404, "itemNotFound", 404)
    finally:
        stack.delete_all()


def test_the_wrong_state(stack: LiveStack) -> None:
    server_id = stack.create("running")
    stack.await_status(server_id, "ACTIVE")
    answer = stack.call("POST", f"{SERVERS}/{server_id}/action", {"os-start": None})
    assert _fault(answer) == (409, "conflictingRequest", 409)
    assert "while it is in vm_state active" in answer.json()["conflictingRequest"]["message"]
    stack.delete_all()


def test_more_than_the_quota(stack: LiveStack) -> None:
    answer = stack.call("POST", SERVERS, _wanted(stack, min_count=11, max_count=11))
    assert _fault(answer) == (403, "forbidden", 403)
    assert "Quota exceeded for instances" in answer.json()["forbidden"]["message"]


def test_a_server_that_fits_nowhere_is_in_error_with_the_reason(stack: LiveStack) -> None:
    flavor = {"name": "huge", "id": "huge", "vcpus": 1, "ram": 2_000_000, "disk": 1}
    stack.call("POST", "/compute/v2.1/flavors", {"flavor": flavor})
    stack.call("PUT", f"/compute/v2.1/os-quota-sets/{_project(stack)}", {"quota_set": {"ram": -1}})
    answer = stack.call("POST", SERVERS, _wanted(stack, flavorRef="huge"))
    server = stack.await_status(answer.json()["server"]["id"], "ERROR")
    assert server["fault"]["message"].startswith("No valid host was found.")
    assert "MEMORY_MB removed 1" in server["fault"]["details"]
    stack.delete_all()
    stack.call("DELETE", "/compute/v2.1/flavors/huge")


def test_every_answer_has_its_request_id(stack: LiveStack) -> None:
    for path in (SERVERS, f"{SERVERS}/{UNKNOWN}", "/image/v2/images", "/network/v2.0/networks", "/nowhere"):
        assert stack.call("GET", path).headers["x-openstack-request-id"].startswith("req-")


def test_a_request_id_is_in_the_log_the_action_and_the_processes_logs(stack: LiveStack) -> None:
    answer = stack.call("POST", SERVERS, _wanted(stack))
    request_id = answer.headers["x-openstack-request-id"]
    server_id = answer.json()["server"]["id"]
    stack.await_status(server_id, "ACTIVE")
    assert stack.call("GET", f"{SERVERS}/{server_id}/os-instance-actions/{request_id}").status == 200
    assert "server.built" in stack.lightcurve("log", "--request", request_id).stdout
    for program in ("conductor", "compute"):
        assert request_id in (stack.directory / "log" / f"{program}.log").read_text()
    stack.delete_all()


def _project(stack: LiveStack) -> str:
    projects = stack.call("GET", "/identity/v3/auth/projects").json()["projects"]
    project_id: str = next(project["id"] for project in projects if project["name"] == "admin")
    return project_id
