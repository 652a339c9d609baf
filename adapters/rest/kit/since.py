"""The microversions that the code asks for, each with what it brought: the number behind ``2.``.

Of the others, up to the newest that is spoken (``adapters.rest.kit.microversion``), nothing here needs to know.
Source: https://docs.openstack.org/nova/latest/reference/api-microversion-history.html.
"""

KEYPAIR_TYPES = 2
"""Keypairs have a type; making and deleting them answers with other statuses."""
EXTENDED_ATTRIBUTES = 3
"""Servers show more of where and what they are."""
REMOTE_CONSOLES = 6
"""``POST …/remote-consoles`` instead of an action for each protocol."""
LOCKED = 9
"""Servers show whether they are locked."""
KEYPAIRS_OF_OTHERS = 10
"""An administrator may name the user whose keypairs are meant."""
FORCED_DOWN = 11
"""Services show, and may be told, that they are forced down."""
GROUP_OWNERS = 13
"""Server groups show whose they are."""
STORAGE_FOUND_OUT = 14
"""An evacuation no longer says whether hosts have disks in common, nor answers with a password."""
SOFT_GROUP_POLICIES = 15
"""Server groups may have soft policies."""
HOST_STATUS = 16
"""Servers show the status of their host."""
DESCRIPTION = 19
"""Servers have a description; before, the name was that."""
ACTIONS_OF_DELETED = 21
"""The actions of deleted servers are shown."""
FORCE_COMPLETE = 22
"""A live migration can be made to end."""
LIVE_MIGRATIONS = 23
"""Those under way are shown with their server, and others say of which type they are."""
ABORTED_LIVE_MIGRATION = 24
"""And can be aborted."""
BLOCK_MIGRATION_AUTO = 25
"""A live migration may leave it to the cloud whether disks are copied."""
TAGS = 26
"""Servers have tags, and are found by them."""
CPU_INFO_AS_OBJECT = 28
"""A hypervisor's ``cpu_info`` is an object, not a text."""
FORCED_EVACUATION = 29
"""The host of an evacuation may be forced."""
FORCED_LIVE_MIGRATION = 30
"""The host of a live migration may be forced."""
CONSOLE_TOKENS_OF_ALL = 31
"""Tokens of all kinds of consoles are told of, not only RDP's."""
HYPERVISOR_PAGES = 33
"""Hypervisors are listed in pages."""
KEYPAIR_PAGES = 35
"""Keypairs are listed in pages."""
NO_NETWORK_PROXIES = 36
"""Networks, floating addresses and security groups are no longer Compute's: their limits went."""
NETWORKS_REQUIRED = 37
"""A new server has to say its networks, if only ``auto`` or ``none``."""
STATUS_CHECKED = 38
"""An unknown status in a filter is refused; before, it found nothing."""
NO_IMAGE_METADATA_LIMIT = 39
"""Limits no longer show ``maxImageMeta``."""
IMAGE_ID_TOLD = 45
"""Who has an image made of a server is told its id, not its address."""
FLAVOR_IN_SERVER = 47
"""Servers show what their flavor was, not a link to it."""
ACTION_EVENTS_OF_ALL = 51
"""Everybody sees the steps of an action, administrators more of them."""
UUIDS = 53
"""Services and hypervisors have UUIDs; what the sub-resources of hypervisors were for became parameters."""
KEY_OF_REBUILD = 54
"""A rebuild may take another key."""
FLAVOR_DESCRIPTION = 55
"""Flavors have a description, which can be changed."""
MIGRATION_TO_HOST = 56
"""A cold migration may name its host."""
NO_PERSONALITY = 57
"""Files are no longer injected; a rebuild takes user data instead."""
ACTION_PAGES = 58
"""Instance actions are listed in pages, and show when they were updated."""
MIGRATION_PAGES = 59
"""Migrations have a uuid, and are listed in pages."""
FLAVOR_EXTRA_SPECS = 61
"""Flavors show their extra specs."""
ACTION_HOSTS = 62
"""The steps of an action show their host."""
TRUSTED_CERTIFICATES = 63
"""Servers show their trusted image certificates."""
GROUP_RULES = 64
"""Server groups have one policy, with rules, instead of a list of policies and metadata."""
ABORTED_WAITING = 65
"""A live migration can be aborted before the server leaves."""
CHANGES_BEFORE = 66
"""Lists take ``changes-before``."""
NO_FORCED_LIVE_MIGRATION = 68
"""And not any more."""
ATTACHMENT_TAGS = 70
"""Attached interfaces and volumes show their tag."""
SERVER_GROUPS = 71
"""Servers show their groups."""
LOCKED_REASON = 73
"""A lock has a reason; servers are found by whether they are locked."""
STRICT = 75
"""Unknown parameters and fields are refused; answers are evened out."""
UNSHELVE_ZONE = 77
"""A server that is unshelved may be told its zone."""
MIGRATION_OWNERS = 80
"""Migrations tell, and are found by, who asked for them."""
ACTION_DETAILS = 84
"""The steps of an action show details of a failure."""
EXTRA_SPECS_VALIDATED = 86
"""Extra specs of known namespaces are checked."""
HYPERVISOR_UPTIME = 88
"""Hypervisors show their uptime themselves; their statistics, and what they use, went to Placement."""
HOSTNAME = 90
"""The host name of a server can be asked for and changed."""
UNSHELVE_HOST = 91
"""And its host, or that it has no zone any more."""
KEYPAIRS_ARE_IMPORTED = 92
"""Keypairs are no longer generated; their names may have dots and at signs."""
FULL_HOSTNAME = 94
"""A host name may have dots."""
EVACUATED_STOPPED = 95
"""An evacuated server is powered off."""
PINNED_ZONE = 96
"""Servers show the zone that was asked for."""
IMAGE_PROPERTIES = 98
"""Servers show properties of their image."""
SPICE_DIRECT = 99
"""A console for viewers that speak SPICE themselves."""
SCHEDULER_HINTS = 100
"""Servers show what was hinted to the scheduler."""
NO_FLAVOR_RELICS = 102
"""Flavors no longer show ``disabled`` and ``rxtx_factor``."""
