"""The microversions of the Block Storage API that are spoken, and those from which something is otherwise.

https://docs.openstack.org/cinder/latest/contributor/api_microversion_history.html
"""

from adapters.rest.kit.microversion import Microversions

VOLUME = Microversions("volume", 3, 0, 54, frozenset(("block-storage", "volumev3", "cinder")))

BOOTABLE_FILTER = 2
GLANCE_METADATA_FILTER = 4
CLUSTERS = 7
GROUP_FILTER = 10
SUMMARY = 12
GROUPS = 13
GROUP_SNAPSHOTS = 14
ETAGS = 15
PROVIDER_ID = 21
SNAPSHOT_METADATA_FILTER = 22
FORCED_DELETION = 23
ATTACHMENTS = 27
SORTED_SNAPSHOTS = 30
RESOURCE_FILTERS = 31
LIKE_FILTER = 34
SUMMARY_METADATA = 36
LIMITS_OF_PROJECT = 39
SNAPSHOT_USER = 41
EXTEND_IN_USE = 42
COMPLETION = 44
COUNTS = 45
BACKUP_SOURCE = 47
SHARED_TARGETS = 48
BACKEND_STATE = 49
EXTRA_SPECS_FILTER = 52
ATTACH_MODE = 54
