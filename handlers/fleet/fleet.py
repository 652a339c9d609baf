"""The hosts of a cell as an operator looks at them: by name, by id, by number, by zone, in pages and in sums.

All of it is kept up to date with each event of a host, so that no question costs more because there are more hosts.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from uuid import UUID, uuid5

from domain.fleet import host as domain_host
from domain.fleet.host import Host
from domain.log.record import Recorded
from handlers.log.registry import Registry

COMPUTE = "nova-compute"
_NAMESPACE = UUID("8f3de0b6-4b4c-5c5e-9d40-5a8a6f1d3f7a")


def service_id(binary: str, host: str) -> str:
    """The id of a service, the same in every process."""
    return str(uuid5(_NAMESPACE, f"{binary}/{host}"))


class Fleet:
    """Every host that was ever enrolled, in the order of enrolment: its number in it is its id before 2.53, and never
    changes."""

    def __init__(self, registry: Registry) -> None:
        """``registry`` holds the hosts."""
        self._registry = registry
        self._names: list[str] = []
        self._numbers: dict[str, int] = {}
        self._name_of: dict[str, str] = {}
        """By the host's id, and by that of its compute service."""
        self._counted: dict[str, Host] = {}
        """As they stand in the sums and the zones."""
        self._zones: dict[str, dict[str, None]] = {}
        self._enabled_in: Counter[str] = Counter()
        self.enabled: Counter[str] = Counter()
        """Of all enabled hosts: their ``count``, and the sums of their vcpus, memory_mb and disk_gb."""
        self.disabled: dict[str, None] = {}
        """The names of those that are not."""
        for host in registry.all("host"):
            self._count(host)
        registry.listen(self._note)

    def __len__(self) -> int:
        return len(self._names)

    def named(self, name: str) -> Host | None:
        return self._registry.of(domain_host.KIND, name)

    def by_id(self, identity: str) -> Host | None:
        """The host of that id, or whose compute service has it."""
        name = self._name_of.get(identity)
        return self.named(name) if name else None

    def numbered(self, number: int) -> Host | None:
        """The host of that number; the first is 1."""
        return self.named(self._names[number - 1]) if 1 <= number <= len(self._names) else None

    def number(self, host: Host) -> int:
        return self._numbers[host.name]

    def all(self) -> Iterator[Host]:
        return self.after(None)

    def after(self, last: Host | None) -> Iterator[Host]:
        """Those behind a host; costs what is taken of it."""
        start = self._numbers[last.name] if last else 0
        known = (self.named(name) for name in islice(self._names, start, None))
        return (host for host in known if host)

    def zones(self) -> Iterable[str]:
        """The availability zones that hosts are in."""
        return list(self._zones)

    def in_zone(self, zone: str) -> list[Host]:
        known = (self.named(name) for name in self._zones.get(zone, ()))
        return [host for host in known if host]

    def available(self, zone: str) -> bool:
        """Whether servers can be put into a zone: one of its hosts is enabled, or it has none yet."""
        return not self._zones.get(zone) or self._enabled_in[zone] > 0

    def _note(self, recorded: Recorded) -> None:
        if recorded.aggregate.kind == domain_host.KIND.name and (host := self.named(recorded.aggregate.id)):
            self._count(host)

    def _count(self, host: Host) -> None:
        if host.name not in self._numbers:
            self._names.append(host.name)
            self._numbers[host.name] = len(self._names)
            self._name_of[host.id] = self._name_of[service_id(COMPUTE, host.name)] = host.name
        before = self._counted.get(host.name)
        if before:
            self._sum(before, -1)
            del self._zones[before.availability_zone][host.name]
            if not self._zones[before.availability_zone]:
                del self._zones[before.availability_zone]
        self._counted[host.name] = host
        self._zones.setdefault(host.availability_zone, {})[host.name] = None
        self._sum(host, 1)

    def _sum(self, host: Host, sign: int) -> None:
        if not host.enabled:
            self.disabled.pop(host.name, None)
            if sign > 0:
                self.disabled[host.name] = None
            return
        self._enabled_in[host.availability_zone] += sign
        offered = host.description
        amounts = {"count": 1, "vcpus": offered.vcpus, "memory_mb": offered.memory_mb, "disk_gb": offered.disk_gb}
        for name, amount in amounts.items():
            self.enabled[name] += sign * amount
