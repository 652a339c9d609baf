"""The actions of Nova that this cloud cannot do yet: each is refused, on a server that is there."""

import msgspec

from adapters.rest.compute.servers.access import find
from adapters.rest.compute.servers.actions.simple import PATH
from adapters.rest.kit.errors import not_implemented
from adapters.rest.kit.operation import Access, Call, Operations
from adapters.rest.kit.words import words

operations = Operations()

NOT_YET = words("addSecurityGroup changePassword createBackup injectNetworkInfo removeSecurityGroup restore")


class AnyBody(msgspec.Struct):
    """Whatever an action takes that is refused anyway."""


def _declare_refusal(action: str) -> None:
    @operations("POST", PATH, Access.MEMBER, f"os_compute_api:{action}", action=action, body=AnyBody, status=202)
    async def refuse(call: Call) -> None:
        await find(call)
        raise not_implemented(f"The action {action}")


for _action in sorted(NOT_YET):
    _declare_refusal(_action)
