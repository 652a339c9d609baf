"""An event of the log in the JSON format of CloudEvents.
https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md"""

from datetime import UTC
from typing import Any

import msgspec

from adapters.rest.audit.rights import for_tenants
from domain.log.record import Recorded
from projections.trace import facts_of

BATCH = "application/cloudevents-batch+json"


def cloud_event(recorded: Recorded, everything: bool) -> dict[str, Any]:
    """What an auditor sees is what the log has: secrets are sealed there."""
    meta, event = recorded.meta, recorded.event
    data = msgspec.to_builtins(event) if everything else for_tenants(facts_of(event, 0))
    shown = {
        "specversion": "1.0",
        "id": meta.event_id,
        "source": f"/cells/{recorded.cell}",
        "type": event.__struct_config__.tag,
        "subject": str(recorded.aggregate),
        "time": meta.time.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "aggregateversion": recorded.version,
        "position": recorded.position,
        "requestid": meta.request_id,
        "globalrequestid": meta.global_request_id,
        "userid": meta.user_id,
        "projectid": meta.project_id,
        "previousdigest": recorded.previous,
        "data": data,
    }
    return {name: value for name, value in shown.items() if value is not None}
