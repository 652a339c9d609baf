"""What may be hinted to the scheduler about a server, by Nova's names.

https://docs.openstack.org/api-ref/compute/#create-server
"""

from domain.placement.grouping import DIFFERENT_HOST, SAME_HOST
from domain.server.wish import Wish

GROUP = "group"
NEAR_ADDRESS, NEAR_MASK = "build_near_host_ip", "cidr"
KNOWN = (GROUP, SAME_HOST, DIFFERENT_HOST, NEAR_ADDRESS, NEAR_MASK)
USUAL_MASK = "/24"


def near(wish: Wish) -> str | None:
    """The network of host addresses in which the server shall be."""
    address = wish.hints.get(NEAR_ADDRESS)
    return address[0] + (wish.hints.get(NEAR_MASK) or (USUAL_MASK,))[0] if address else None
