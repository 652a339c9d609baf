"""What the scheduler sees of the hosts."""

from collections.abc import Callable, Iterator, Mapping

from domain.placement.scheduling import HostView
from handlers.fleet.hosts import Hosts


class HostViews(Mapping[str, HostView]):
    """Hosts by id. A view is made when it is asked for: of thousands of hosts, a choice looks at a few."""

    def __init__(self, hosts: Hosts, is_up: Callable[[str], bool]) -> None:
        self._hosts = hosts
        self._is_up = is_up

    def __getitem__(self, host_id: str) -> HostView:
        host = self._hosts.get(host_id)
        if host is None:
            raise KeyError(host_id)
        return HostView(
            id=host.id,
            name=host.name,
            availability_zone=host.availability_zone,
            enabled=host.enabled,
            up=self._is_up(host.name) and not host.forced_down,
            architecture=host.description.architecture,
            address=host.description.host_ip,
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._hosts.ids())

    def __len__(self) -> int:
        return len(list(self._hosts.ids()))
