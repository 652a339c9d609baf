"""The rules of Compute that no operation is named after: they are about what is asked of an operation."""

from adapters.rest.kit.operation import Access, Rule

ALL_PROJECTS = Rule(
    "os_compute_api:servers:detail:get_all_tenants", Access.ADMIN, "List the servers of all projects."
)
FORCED_HOST = Rule("os_compute_api:servers:create:forced_host", Access.ADMIN, "Name the host of a new server.")
REQUESTED_DESTINATION = Rule(
    "os_compute_api:servers:create:requested_destination",
    Access.ADMIN,
    "Name the host of a new server, which the scheduler then checks.",
)
OTHER_PROJECT = Rule("os_compute_api:limits:other_project", Access.ADMIN, "See the limits of another project.")
KEYS_OF_OTHERS = Rule("os_compute_api:os-keypairs:index", Access.ADMIN)
"""Named after the operation; it is about the keys of another user."""
GROUPS_OF_ALL = Rule(
    "os_compute_api:os-server-groups:index:all_projects", Access.ADMIN, "List the server groups of all projects."
)
UNLOCK_OVERRIDE = Rule(
    "os_compute_api:os-lock-server:unlock:unlock_override",
    Access.ADMIN,
    "Unlock a server that was locked by somebody else.",
)
UNSHELVE_TO_HOST = Rule(
    "os_compute_api:os-shelve:unshelve_to_host", Access.ADMIN, "Name the host of a server that is unshelved."
)
ALL = (
    ALL_PROJECTS,
    FORCED_HOST,
    REQUESTED_DESTINATION,
    OTHER_PROJECT,
    GROUPS_OF_ALL,
    UNLOCK_OVERRIDE,
    UNSHELVE_TO_HOST,
)
