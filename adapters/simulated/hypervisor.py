"""The Hypervisor port without a hypervisor.

Held to the same contract as the real one. Time comes from the given Clock and chance from the given Random, so
that a simulation repeats itself exactly. Like a real host it outlives its agent: an operation that is cancelled half
way leaves what a killed agent would leave.
"""

from collections.abc import AsyncIterator, Mapping
from random import Random

import msgspec

from adapters.simulated.copy import Copy
from adapters.simulated.guest import OPERATIONS, Behaviour, Guest, Operation, is_guest
from adapters.simulated.guest import state_of as _state
from adapters.simulated.live import LiveMoving
from adapters.turns import Turns
from domain.errors import HostFailed, Unavailable
from domain.guest import GuestSpec, GuestState, HostDescription, PowerState
from handlers.messages import ConsoleAddress, DiskOffer, Peer
from handlers.ports import Clock, GuestEvent, ImageFiles

NOT_RUNNING = "The server does not run."
VOID = "The server was assigned to this host anew; the older assignment is void."
GONE = "The server is not on the host where it should be."


class SimulatedHypervisor(LiveMoving):
    """One host in memory."""

    def __init__(
        self,
        name: str,
        clock: Clock,
        random: Random,
        *,
        vcpus: int = 64,
        memory_mb: int = 256 * 1024,
        disk_gb: int = 4096,
        behaviour: Mapping[Operation, Behaviour] | None = None,
        others: Mapping[str, "SimulatedHypervisor"] | None = None,
        files: ImageFiles | None = None,
        restless: float = 0.0,
        max_incoming: int = 1000,
    ) -> None:
        """Operations not named in ``behaviour`` take no time and do not fail. ``others`` are the hosts from which
        guests may come, by name; so many running ones at a time. ``restless`` is the share of guests whose memory
        can never be sent while they run. Images that are made go to ``files``."""
        self.behaviour: dict[Operation, Behaviour] = {name: Behaviour() for name in OPERATIONS}
        self.behaviour.update(behaviour or {})
        self._description = HostDescription(
            name=name,
            hypervisor_type="simulated",
            hypervisor_version=1_000_000,
            vcpus=vcpus,
            memory_mb=memory_mb,
            disk_gb=disk_gb,
        )
        self._others = others if others is not None else {}
        self._files = files
        self.made = {}
        self._clock = clock
        self._random = random
        self._guests: dict[str, Guest] = {}
        self._left: dict[str, int] = {}
        """Those that went to another host while they ran, with their epoch here."""
        self._copies: dict[str, Copy] = {}
        """The last attempt to send each guest to another host."""
        self._restless = restless
        self._max_incoming = max_incoming
        self._turns = Turns()
        self._available = True

    @property
    def available(self) -> bool:
        """While False every operation raises Unavailable; at once, watchers lose their connection."""
        return self._available

    @available.setter
    def available(self, available: bool) -> None:
        self._available = available
        if not available:
            self._turns.changed(None)

    def happen(self, server_id: str, power_state: PowerState) -> None:
        """Let a guest change by itself, as when it powers off from within."""
        if not self._guests[server_id].given:
            self._guests[server_id].power_state = power_state
            self._turns.changed(server_id)

    async def describe(self) -> HostDescription:
        self._check_available()
        return self._description

    async def guests(self) -> list[GuestState]:
        """Every guest whose build has come to its end."""
        self._check_available()
        return [_state(guest) for guest in self._guests.values() if is_guest(guest)]

    async def build(self, spec: GuestSpec) -> GuestState:
        """Make the guest and start it; see the port. Refuses an epoch older than the one that is here."""
        async with self._turns.turn(spec.server_id):
            self._check_available()
            guest = self._guests.get(spec.server_id)
            if guest is not None and guest.spec.epoch > spec.epoch:
                raise HostFailed(VOID, f"epoch {spec.epoch}, here is {guest.spec.epoch}")
            if guest is None or guest.spec.epoch < spec.epoch:
                guest = self._guests[spec.server_id] = Guest(spec)
            if guest.spec.generation == spec.generation and guest.power_state is PowerState.RUNNING:
                return self._turns.tell(_state(guest))
            try:
                await self._work("build")
            except HostFailed:
                if spec.generation == 0 or spec.disk_image:
                    del self._guests[spec.server_id]
                raise
            guest.spec, guest.disk = spec, self._disk_for(spec, self._description.name)
            guest.restless = self._restless > 0 and self._random.random() < self._restless
            guest.power_off()
            return self._power_on(guest) if spec.powered_on else self._turns.tell(_state(guest))

    async def start(self, spec: GuestSpec) -> GuestState:
        async with self._turns.turn(spec.server_id):
            guest = self._own(spec)
            await self._work("start")
            guest.become(spec)
            return self._power_on(guest)

    async def pause(self, server_id: str) -> GuestState:
        async with self._turns.turn(server_id):
            guest = self._find(server_id)
            await self._work("pause")
            if guest.power_state not in {PowerState.RUNNING, PowerState.PAUSED}:
                raise HostFailed(NOT_RUNNING)
            guest.power_state = PowerState.PAUSED
            return self._turns.tell(_state(guest))

    async def suspend(self, server_id: str) -> GuestState:
        async with self._turns.turn(server_id):
            guest = self._find(server_id)
            await self._work("suspend")
            if guest.power_state not in {PowerState.RUNNING, PowerState.PAUSED} and not guest.memory_kept:
                raise HostFailed(NOT_RUNNING)
            guest.power_state, guest.memory_kept = PowerState.SHUTDOWN, True
            return self._turns.tell(_state(guest))

    async def inject_nmi(self, server_id: str) -> GuestState:
        """Nobody is in the guest to notice."""
        async with self._turns.turn(server_id):
            guest = self._find(server_id)
            await self._work("inject_nmi")
            if guest.power_state not in {PowerState.RUNNING, PowerState.PAUSED}:
                raise HostFailed(NOT_RUNNING)
            return self._turns.tell(_state(guest))

    async def stop(self, server_id: str, timeout: float) -> GuestState:
        """Power off. It takes what the behaviour says, and no longer than ``timeout`` seconds."""
        async with self._turns.turn(server_id):
            guest = self._find(server_id)
            await self._work("stop", timeout)
            guest.power_off()
            return self._turns.tell(_state(guest))

    async def reboot(self, spec: GuestSpec, *, hard: bool, timeout: float) -> GuestState:
        """Restart; a soft one as a hard one, there is nobody in the guest to ask."""
        async with self._turns.turn(spec.server_id):
            guest = self._own(spec)
            await self._work("reboot")
            guest.become(spec)
            guest.power_off()
            return self._power_on(guest)

    async def give(self, server_id: str, timeout: float) -> GuestState:
        async with self._turns.turn(server_id):
            guest = self._disk(server_id)
            await self._work("give", timeout)
            guest.power_off()
            guest.given = True
            return _state(guest)

    async def offer(self, server_id: str, epoch: int) -> DiskOffer | None:
        """It is taken over as it is."""
        if not self._disk(server_id).given:
            raise HostFailed("The server has not left this host.")
        return None

    async def receive(self, spec: GuestSpec, source: Peer) -> GuestState:
        """Take over a disk; its guest must be off where it is."""
        async with self._turns.turn(spec.server_id):
            self._check_available()
            here = self._guests.get(spec.server_id)
            if here is None or here.spec.epoch < spec.epoch or here.power_state is PowerState.NOSTATE:
                await self._work("receive")
                here = self._guests[spec.server_id] = self._taken_over(spec, source)
            if spec.powered_on:
                return self._power_on(here)
            return self._turns.tell(_state(here))

    def _taken_over(self, spec: GuestSpec, source: Peer) -> Guest:
        host = self if source.host == self._description.name else self._others.get(source.host)
        found = host.given(spec.server_id) if host else None
        if host is self and (here := self._guests.get(spec.server_id)):
            # What an earlier attempt has left here is no disk to go on from.
            found = here.aside or found
        if found is None:
            raise HostFailed("The disk of the server cannot be reached where it is.")
        disk = (*found.disk, self._description.name)
        taken = Guest(msgspec.structs.replace(spec, generation=found.spec.generation), disk=disk)
        taken.aside = found if host is self else None
        taken.power_off()
        return taken

    def given(self, server_id: str) -> Guest | None:
        """A guest of which only the disk is left, for another host to take it over."""
        guest = self._guests.get(server_id) if self._available else None
        return guest if guest and guest.given else None

    async def recreate(self, spec: GuestSpec) -> GuestState:
        """Always from its image: simulated hosts have no disks in common."""
        async with self._turns.turn(spec.server_id):
            self._check_available()
            here = self._guests.get(spec.server_id)
            if here is not None and here.spec.epoch > spec.epoch:
                raise HostFailed(VOID, f"epoch {spec.epoch}, here is {here.spec.epoch}")
            if here is None or here.spec.epoch < spec.epoch:
                here = self._guests[spec.server_id] = Guest(spec)
            if here.power_state is PowerState.NOSTATE:
                try:
                    await self._work("recreate")
                except HostFailed:
                    del self._guests[spec.server_id]
                    raise
                here.disk = (self._description.name,)
                here.power_off()
            return self._power_on(here) if spec.powered_on else self._turns.tell(_state(here))

    async def adopt(self, spec: GuestSpec) -> GuestState:
        async with self._turns.turn(spec.server_id):
            guest = self._own(spec)
            await self._work("adopt")
            guest.become(spec)
            if spec.powered_on:
                return self._power_on(guest)
            return self._turns.tell(_state(guest))

    async def discard(self, server_id: str, epoch: int) -> None:
        async with self._turns.turn(server_id):
            self._check_available()
            guest = self._guests.get(server_id)
            if guest is None:
                return
            await self._work("discard")
            if guest.spec.epoch == epoch and guest.aside is not None:
                self._guests[server_id] = guest.aside
            elif guest.spec.epoch == epoch:
                del self._guests[server_id]
                self._turns.forget(server_id)
            elif guest.aside is not None and guest.aside.spec.epoch == epoch:
                guest.aside = None

    async def destroy(self, server_id: str) -> None:
        async with self._turns.turn(server_id):
            self._check_available()
            if server_id in self._guests:
                await self._work("destroy")
                del self._guests[server_id]
            self._turns.forget(server_id)

    async def console_log(self, server_id: str, lines: int | None) -> str:
        """A line a boot."""
        guest = self._find(server_id)
        printed = [f"BOOT-COMPLETE hostname={guest.spec.name} boots={boot + 1}\n" for boot in range(guest.boots)]
        return "".join(printed if lines is None else printed[max(0, len(printed) - lines) :])

    async def console(self, server_id: str, protocol: str) -> ConsoleAddress | None:
        """There is nothing to see."""
        self._find(server_id)
        return None

    async def watch(self) -> AsyncIterator[GuestEvent]:
        if not self._available:
            raise HostFailed("The connection to the hypervisor was lost.")
        async for state in self._turns.changes(self._look):
            yield GuestEvent(state)

    async def _look(self, server_id: str) -> GuestState | None:
        guest = self._guests.get(server_id)
        return _state(guest) if guest and is_guest(guest) else None

    async def _work(self, operation: Operation, at_most: float = float("inf")) -> None:
        """Take the time, and perhaps fail."""
        behaviour = self.behaviour[operation]
        seconds = min(self._random.uniform(*behaviour.delay), at_most) if behaviour.delay[1] > 0 else 0.0
        if seconds > 0:
            await self._clock.sleep(seconds)
        self._check_available()
        self._fail_perhaps(operation)

    def _fail_perhaps(self, operation: Operation) -> None:
        behaviour = self.behaviour[operation]
        if behaviour.fail_next > 0:
            behaviour.fail_next -= 1
        elif not (behaviour.failure > 0 and self._random.random() < behaviour.failure):
            return
        raise HostFailed(behaviour.message, f"{self._description.name}: {operation}")

    def _power_on(self, guest: Guest) -> GuestState:
        if guest.power_state in {PowerState.NOSTATE, PowerState.SHUTDOWN, PowerState.CRASHED}:
            guest.boots += not guest.memory_kept
            guest.memory_kept = False
        guest.power_state = PowerState.RUNNING
        return self._turns.tell(_state(guest))

    def _find(self, server_id: str) -> Guest:
        guest = self._disk(server_id)
        if guest.given:
            raise HostFailed(GONE)
        return guest

    def _own(self, spec: GuestSpec) -> Guest:
        """The guest that is here, given or not, of that epoch from now on."""
        guest = self._disk(spec.server_id)
        if guest.spec.epoch > spec.epoch:
            raise HostFailed(VOID, f"epoch {spec.epoch}, here is {guest.spec.epoch}")
        guest.given = False
        guest.spec = msgspec.structs.replace(guest.spec, epoch=spec.epoch)
        return guest

    def _disk(self, server_id: str) -> Guest:
        self._check_available()
        guest = self._guests.get(server_id)
        if guest is None or guest.power_state is PowerState.NOSTATE:
            raise HostFailed(GONE)
        return guest

    def _check_available(self) -> None:
        if not self._available:
            raise Unavailable("The hypervisor does not answer now.")
