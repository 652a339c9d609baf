"""How a proxy proves for which guest it asks: Neutron's headers and signature, so that either side may be the
real one. https://docs.openstack.org/nova/latest/admin/metadata-service.html
"""

import hashlib
import hmac

INSTANCE_ID = "x-instance-id"
TENANT_ID = "x-tenant-id"
SIGNATURE = "x-instance-id-signature"
FORWARDED_FOR = "x-forwarded-for"
REQUEST_ID = "x-openstack-request-id"

CONFIG_DRIVE = "config-drive/"
"""Before the id in what a host signs to get all at once: no signature of a proxy's can stand for it."""
CONFIG_DRIVE_PATH = "/lightcurve/config_drive"


def sign(secret: bytes, what: str) -> str:
    """HMAC-SHA256 in hex, as Neutron's metadata agent makes it of the instance id."""
    return hmac.new(secret, what.encode(), hashlib.sha256).hexdigest()


def is_signed(secret: bytes, what: str, signature: str) -> bool:
    """Whether the signature is right; takes the same time whatever is wrong."""
    return hmac.compare_digest(sign(secret, what).encode(), signature.encode("utf-8", "replace"))
