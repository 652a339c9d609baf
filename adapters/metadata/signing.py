"""How a proxy proves for which guest it asks: Neutron's headers and signature, so that either side may be the
real one. https://docs.openstack.org/nova/latest/admin/metadata-service.html
"""

import hashlib
import hmac

INSTANCE_ID = "x-instance-id"
TENANT_ID = "x-tenant-id"
SIGNATURE = "x-instance-id-signature"
HOST = "x-lightcurve-host"
"""Which of our hosts asks: it signs with a secret of its own, and is told of its own guests only."""
FORWARDED_FOR = "x-forwarded-for"
REQUEST_ID = "x-openstack-request-id"

CONFIG_DRIVE = "config-drive/"
"""Before the id in what a host signs to get all at once: no signature of a proxy's can stand for it."""
CONFIG_DRIVE_PATH = "/lightcurve/config_drive"


def sign(secret: bytes, what: str) -> str:
    """HMAC-SHA256 in hex, as Neutron's metadata agent makes it of the instance id."""
    return hmac.new(secret, what.encode(), hashlib.sha256).hexdigest()


def proof(secret: bytes, host: str, what: str) -> dict[str, str]:
    """The headers that prove who asks. ``host`` is empty for a secret that is no single host's."""
    return {SIGNATURE: sign(secret, what)} | ({HOST: host} if host else {})


def is_signed(secret: bytes, what: str, signature: str) -> bool:
    """Whether the signature is right; takes the same time whatever is wrong."""
    return hmac.compare_digest(sign(secret, what).encode(), signature.encode("utf-8", "replace"))
