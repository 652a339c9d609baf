"""The audit API: what is in the logs, for those who may know. Tenants see what they have asked for themselves."""

from adapters.rest.audit import events, traces
from adapters.rest.kit.operation import Operation


def operations() -> list[Operation]:
    return [*traces.operations, *events.operations]
