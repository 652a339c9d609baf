"""The Placement API's process: the ledger in memory, fed by the log, and its face on a port of its own."""

import asyncio
import logging
from ipaddress import ip_address

from adapters.rest.identity.tokens import Tokens
from adapters.rest.kit.policy_checks import read_overrides
from adapters.rest.placement.access import Authenticator, ByToken, believe
from adapters.rest.placement.app import create_app
from adapters.rest.placement.policy import Policy
from domain.errors import Invalid
from domain.neighbours.identity.state import KIND
from handlers.fleet.liveness import keep_beating
from handlers.log.disorder import Disorder
from handlers.log.ledger_feed import LedgerFeed
from handlers.log.registry import Registry
from handlers.neighbours.revocations import Revocations
from handlers.past.ledgers import PastLedgers
from handlers.past.moments import Moments
from handlers.past.placements import PastPlacements
from handlers.placement import Placement
from handlers.together import together
from ops.identity import LiveIdentity
from ops.roles.plane import Plane, open_plane
from ops.roles.serving import serve
from ops.settings import Settings

log = logging.getLogger(__name__)

SETTLE_SECONDS = 5.0
"""How long an answer waits for the other processes to know of what was written."""


def names(settings: Settings) -> list[str]:
    return [f"placement-{number}" for number in range(1, settings.placement.workers + 1)]


async def run(settings: Settings, name: str) -> None:
    """Serve until cancelled. Raises Invalid for a configuration that would let anybody in."""
    check(settings)
    async with open_plane(settings, name) as plane:
        await _serve(plane, name)


def check(settings: Settings) -> None:
    """Raise Invalid if callers would be believed from other machines."""
    placement = settings.placement
    if placement.auth == "noauth2" and not _is_loopback(placement.listen):
        raise Invalid(
            f'[placement] auth = "noauth2" is for tests: listen must be a loopback address, not {placement.listen}.'
        )


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


async def _serve(plane: Plane, name: str) -> None:
    settings, clock = plane.settings, plane.stamp.clock
    disorder = Disorder()
    feed = LedgerFeed(plane.store, plane.stamp, disorder)
    workers = Workers(plane, feed, name)
    people = Registry(plane.api_store, plane.stamp, [KIND], disorder)
    identity = LiveIdentity(settings, people, plane.api_vault, plane.stamp, tells=False)
    revocations = Revocations(plane.api_store, plane.stamp, disorder)
    limit = settings.placement.max_allocation_candidates
    ledgers = PastLedgers(plane.store, plane.stamp)
    past = PastPlacements(Moments(plane.stores, clock), ledgers, plane.store.cell, limit)
    app = create_app(
        Placement(feed, workers.settle, limit),
        _authenticator(plane, identity, revocations),
        plane.stamp.ids,
        clock,
        policy(settings),
        settings.placement.allowed_origins,
        past,
    )
    async with asyncio.TaskGroup() as group:
        background = [
            group.create_task(feed.run()),
            group.create_task(keep_beating(plane.liveness, clock, f"placement/{name}", disorder.facts)),
            group.create_task(workers.announce()),
            group.create_task(plane.watch()),
            group.create_task(people.run()),
            group.create_task(revocations.run()),
        ]
        await together(feed.ready(), revocations.ready(), identity.start())
        await serve(app, settings.placement.listen, settings.placement.port, background)


def _authenticator(plane: Plane, identity: LiveIdentity, revocations: Revocations) -> Authenticator:
    if plane.settings.placement.auth == "noauth2":
        return believe
    return ByToken(Tokens(identity.settings, identity.directory, plane.stamp.clock, revocations.revoked))


def policy(settings: Settings) -> Policy:
    """The policy that the operator wants. Raises Invalid."""
    file = settings.placement.policy_file
    overrides = read_overrides(file) if file else {}
    mine = settings.placement
    return Policy(overrides, old_defaults=not mine.enforce_new_defaults, trust_services=mine.trust_services)


class Workers:
    """Read-your-writes over all Placement processes: whichever takes the next request knows of this one's write."""

    def __init__(self, plane: Plane, feed: LedgerFeed, name: str) -> None:
        self._plane = plane
        self._feed = feed
        self._name = name
        self._others = [worker for worker in names(plane.settings) if worker != name]
        self._absent: dict[str, int] = {}
        """Processes that were waited for in vain, and for which position: until they have got there, nobody waits for
        them again."""

    async def announce(self) -> None:
        """Tell the other processes, if there are any, how far this one knows the ledger, until cancelled."""
        if not self._others:
            return
        await self._feed.ready()
        async for position in self._feed.positions():
            await self._plane.positions.announce(self._name, self._plane.settings.cell, position)

    async def settle(self, position: int) -> None:
        """Wait until every other process knows a position; an answer is not held up longer than SETTLE_SECONDS, and
        only the first ones by a process that is gone."""
        await together(*(self._wait_for(other, position) for other in self._others))

    async def _wait_for(self, other: str, position: int) -> None:
        cell, reached = self._plane.settings.cell, self._plane.positions.reached
        absent_since = self._absent.get(other)
        if absent_since is not None:
            if not await reached(other, cell, absent_since, 0):
                return
            self._absent.pop(other, None)
        if not await reached(other, cell, position, SETTLE_SECONDS):
            self._absent.setdefault(other, position)
            log.warning("%s has not read position %d of %s in time", other, position, cell)
