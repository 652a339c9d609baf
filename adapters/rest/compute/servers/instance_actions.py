"""``os-instance-actions``: what was done to a server, by whom, and how it went; also after its deletion."""

from typing import Any

from adapters.rest.compute import links
from adapters.rest.compute.servers.access import find
from adapters.rest.compute.servers.view import host_hash
from adapters.rest.kit import since
from adapters.rest.kit.changes import times
from adapters.rest.kit.operation import Access, Call, Operations
from adapters.rest.kit.paging import cut
from adapters.rest.kit.times import micros
from domain.errors import Refused
from domain.server.instance_action import ActionEvent, InstanceAction
from domain.server.state import Server

operations = Operations()

PATH = "/servers/{server_id}/os-instance-actions"
RULE = "os_compute_api:os-instance-actions"


@operations("GET", PATH, Access.READER, f"{RULE}:list")
async def index(call: Call) -> Any:
    """The actions, newest first."""
    server = await find(call, deleted=call.minor >= since.ACTIONS_OF_DELETED)
    rows = await call.services.queries.actions(server.id)
    if call.minor < since.ACTION_PAGES:
        return {"instanceActions": [_action(call, row) for row in rows]}
    rows = _changed(call, rows)
    page, more = cut(rows, call.query, lambda row: row.request_id)
    answer: dict[str, Any] = {"instanceActions": [_action(call, row) for row in page]}
    if more:
        path = PATH.format(server_id=server.id)
        answer["links"] = links.following(call, path, page[-1].request_id)
    return answer


def _changed(call: Call, rows: list[InstanceAction]) -> list[InstanceAction]:
    after, before = times(call)
    return [
        row
        for row in rows
        if (after is None or row.updated_at >= after) and (before is None or row.updated_at <= before)
    ]


@operations("GET", f"{PATH}/{{request_id}}", Access.READER, f"{RULE}:show")
async def show(call: Call) -> Any:
    server = await find(call, deleted=call.minor >= since.ACTIONS_OF_DELETED)
    request_id = call.params["request_id"]
    row = await call.services.queries.action(server.id, request_id)
    if row is None:
        raise Refused("action.not_found", f"Action {request_id} on instance {server.id} not found", status=404)
    document = _action(call, row)
    if call.minor >= since.ACTION_EVENTS_OF_ALL or call.is_admin:
        document["events"] = [_event(call, server, event) for event in row.events]
    return {"instanceAction": document}


def _action(call: Call, row: InstanceAction) -> dict[str, Any]:
    document = {
        "action": row.action,
        "instance_uuid": row.server_id,
        "request_id": row.request_id,
        "user_id": row.user_id,
        "project_id": row.project_id,
        "start_time": micros(row.start_time),
        "message": row.message,
    }
    if call.minor >= since.ACTION_PAGES:
        document["updated_at"] = micros(row.updated_at)
    return document


def _event(call: Call, server: Server, event: ActionEvent) -> dict[str, Any]:
    document = {
        "event": event.event,
        "start_time": micros(event.start_time),
        "finish_time": micros(event.finish_time),
        "result": event.result,
    }
    if call.is_admin:
        document["traceback"] = event.admin_details
    if call.minor >= since.ACTION_HOSTS:
        if call.is_admin:
            document["host"] = event.host or ""
        document["hostId"] = host_hash(server.project_id, event.host)
    if call.minor >= since.ACTION_DETAILS:
        document["details"] = event.details
    return document
