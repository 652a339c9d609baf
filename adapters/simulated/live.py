"""Guests that come to a simulated host, and leave it, while they run."""

from abc import abstractmethod
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

import msgspec

from adapters.simulated.copy import ABORTED, Copy
from adapters.simulated.guest import Behaviour, Guest, Operation, is_guest, state_of
from adapters.simulated.imaging import Imaging
from domain.errors import HostFailed, InLine
from domain.guest import GuestSpec, GuestState, HostDescription, PowerState
from domain.server.moves.orders import KEEP_TRYING, Orders, Policy
from handlers.messages import Arrival, Peer, Progress
from handlers.ports import Clock

if TYPE_CHECKING:
    from adapters.simulated.hypervisor import SimulatedHypervisor

RUNS = (PowerState.RUNNING, PowerState.PAUSED)
SLOWED_SECONDS = 300.0
"""After so long a guest that is slowed down can be sent, whatever it writes."""


class LiveMoving(Imaging):
    """What takes a guest from one simulated host to another while it runs."""

    behaviour: dict[Operation, Behaviour]
    _guests: dict[str, Guest]
    _left: dict[str, int]
    _copies: dict[str, Copy]
    _max_incoming: int
    _available: bool
    _clock: Clock
    _random: Random
    _description: HostDescription

    async def prepare(self, spec: GuestSpec) -> GuestState:
        async with self._turns.turn(spec.server_id):
            self._check_available()
            await self._work("prepare")
            here = self._guests.get(spec.server_id)
            if here is None or here.spec.epoch < spec.epoch:
                if sum(guest.coming for guest in self._guests.values()) >= self._max_incoming:
                    raise InLine("Others come to this host first.")
                self._guests[spec.server_id] = Guest(spec, coming=True)
            return GuestState(server_id=spec.server_id, epoch=spec.epoch, power_state=PowerState.NOSTATE)

    async def arrival(self, server_id: str) -> Arrival | None:
        self._check_available()
        if server_id not in self._guests:
            raise HostFailed("Nothing is ready for the server here.")
        return None

    async def leave(self, server_id: str, target: Peer, orders: Callable[[], Orders]) -> GuestState:
        async with self._turns.turn(server_id):
            self._check_available()
            other = self._others.get(target.host)
            if server_id not in self._guests and other and (come := other.has_come(server_id)):
                return GuestState(server_id=server_id, epoch=self._left[server_id], power_state=come)
            guest = self._find(server_id)
            copy = self._copies.get(server_id)
            if copy is None or copy.has_ended:
                if orders().due(self._clock.now()):
                    raise HostFailed(ABORTED)
                copy = self._copies[server_id] = self._copy(guest, other, orders().policy)
            await copy.follow(orders)
            state = GuestState(server_id=server_id, epoch=guest.spec.epoch, power_state=guest.power_state)
            return msgspec.structs.replace(state, downtime_ms=copy.downtime_ms)

    def _copy(self, guest: Guest, other: "SimulatedHypervisor | None", policy: Policy) -> Copy:
        """Begin to send it."""
        server_id = guest.spec.server_id
        seconds = self._random.uniform(*self.behaviour["leave"].delay)

        ready = other.expected(server_id) if other else None

        def arrive() -> None:
            if self._guests.get(server_id) is not guest or guest.power_state not in RUNS:
                raise HostFailed("The server has ended on its way.")
            self._fail_perhaps("leave")
            if other is None or ready is None or not other.take_in(ready, guest):
                raise HostFailed("The other host cannot be reached.")
            self._left[server_id] = guest.spec.epoch
            del self._guests[server_id]

        if guest.restless:
            # Who keeps trying slows it down, more and more.
            return Copy(self._clock, guest, seconds + SLOWED_SECONDS if policy == KEEP_TRYING else None, arrive)
        return Copy(self._clock, guest, seconds, arrive)

    async def progress(self, server_id: str) -> Progress | None:
        self._check_available()
        copy = self._copies.get(server_id)
        return copy.progress() if copy and not copy.has_ended else None

    def expected(self, server_id: str) -> Guest | None:
        """What is ready for a guest here."""
        here = self._guests.get(server_id)
        return here if here and here.coming else None

    def take_in(self, here: Guest, guest: Guest) -> bool:
        """Have a guest come from another host, if what was ready for it is so still."""
        if not self._available or self.expected(guest.spec.server_id) is not here:
            return False
        here.coming, here.restless = False, guest.restless
        here.power_state, here.boots, here.disk = (
            guest.power_state,
            guest.boots,
            (*guest.disk, self._description.name),
        )
        here.become(msgspec.structs.replace(here.spec, generation=guest.spec.generation))
        here.spec = msgspec.structs.replace(here.spec, generation=guest.spec.generation)
        self._turns.tell(state_of(here))
        return True

    def has_come(self, server_id: str) -> PowerState | None:
        """What a guest is that is here."""
        here = self._guests.get(server_id)
        return here.power_state if here is not None and is_guest(here) else None

    @abstractmethod
    def _check_available(self) -> None: ...

    @abstractmethod
    def _fail_perhaps(self, operation: Operation) -> None: ...
