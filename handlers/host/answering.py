"""What a host says when it is asked: nothing changes by it."""

from handlers.messages import (
    AnyQuestion,
    ArrivalQuestion,
    ConsoleAddressQuestion,
    ConsoleLogQuestion,
    DiskQuestion,
    GuestQuestion,
    ProgressQuestion,
    encode,
)
from handlers.ports import Hypervisor


async def answer(hypervisor: Hypervisor, asked: AnyQuestion) -> bytes:
    """The answer, encoded. Raises HostFailed."""
    match asked:
        case ConsoleAddressQuestion():
            return encode(await hypervisor.console(asked.server_id, asked.protocol))
        case DiskQuestion():
            return encode(await hypervisor.offer(asked.server_id, asked.epoch))
        case ArrivalQuestion():
            return encode(await hypervisor.arrival(asked.server_id))
        case GuestQuestion():
            found = (guest for guest in await hypervisor.guests() if guest.server_id == asked.server_id)
            return encode(next((guest for guest in found if guest.epoch == asked.epoch), None))
        case ProgressQuestion():
            return encode(await hypervisor.progress(asked.server_id))
        case ConsoleLogQuestion():
            return (await hypervisor.console_log(asked.server_id, asked.lines)).encode()
