"""Which servers shall be on one host, and which on different ones: a group's policy, in Nova's words."""

import msgspec

AFFINITY, ANTI_AFFINITY = "affinity", "anti-affinity"
SOFT_AFFINITY, SOFT_ANTI_AFFINITY = "soft-affinity", "soft-anti-affinity"
"""The soft ones are kept as far as there is room."""


class Terms(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a server is held to as a member of its group, for as long as there is that group."""

    group_id: str
    policy: str
    max_per_host: int = 1
    """Members that one host may have under anti-affinity."""
    known_at: int = 0
    """The version of the project's groups that had this one: an older one does not tell whether it is gone."""


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """For whom of which group something is claimed."""

    group_id: str
    server_id: str
