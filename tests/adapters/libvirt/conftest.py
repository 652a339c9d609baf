from tests.libvirt_fixtures import libvirtd  # noqa: F401 (a fixture)
