"""Guests come and go while they are listed: others use the same libvirt."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libvirt
import pytest

from adapters.libvirt.guests import find_domain, list_guests, look
from tests.real_libvirt import _is_of

HOME = "/srv/cloud/compute"
DOMAIN = """
<domain type="test"><name>{name}</name><uuid>{uuid}</uuid><memory>8192</memory><os><type>hvm</type></os><metadata>
<lc:instance xmlns:lc="urn:lightcurve:instance:1" server="{uuid}" epoch="1" home="{home}"/></metadata></domain>
"""
STRANGER = '<domain type="test"><name>theirs</name><memory>8192</memory><os><type>hvm</type></os></domain>'
STAYS, GOES = "6f70656e-0000-0000-0000-000000000001", "6f70656e-0000-0000-0000-000000000002"


class Vanishing:
    """A libvirt on which guests end between being listed and being asked."""

    def __init__(self, conn: Any, *uuids: str) -> None:
        self._conn = conn
        self._uuids = uuids

    def listAllDomains(self) -> list[Any]:  # noqa: N802
        found: list[Any] = self._conn.listAllDomains()
        self._end()
        return found

    def lookupByUUIDString(self, uuid: str) -> Any:  # noqa: N802
        found = self._conn.lookupByUUIDString(uuid)
        self._end()
        return found

    def _end(self) -> None:
        for uuid in self._uuids:
            domain = self._conn.lookupByUUIDString(uuid)
            domain.destroy()
            domain.undefine()
        self._uuids = ()


@pytest.fixture
def conn(tmp_path: Path) -> Iterator[Any]:
    """libvirt's own driver for tests, which needs no daemon; a file of its own is a machine of its own."""
    libvirt.registerErrorHandler(lambda *_: None, None)
    (tmp_path / "node.xml").write_text("<node/>")
    made = libvirt.open(f"test://{tmp_path}/node.xml")
    made.defineXML(STRANGER).create()
    for uuid in (STAYS, GOES):
        made.defineXML(DOMAIN.format(name=uuid, uuid=uuid, home=HOME)).create()
    yield made
    made.close()


def test_one_that_ends_while_the_others_are_listed(conn: Any) -> None:
    assert {guest.server_id for guest in list_guests(conn, HOME)} == {STAYS, GOES}
    assert [guest.server_id for guest in list_guests(Vanishing(conn, GOES), HOME)] == [STAYS]


def test_a_strangers_that_ends_while_ours_are_listed(conn: Any) -> None:
    (stranger,) = (domain.UUIDString() for domain in conn.listAllDomains() if domain.name() == "theirs")
    assert {guest.server_id for guest in list_guests(Vanishing(conn, stranger), HOME)} == {STAYS, GOES}


def test_one_that_ends_while_it_is_looked_at(conn: Any) -> None:
    assert look(Vanishing(conn, GOES), HOME, GOES) is None
    assert find_domain(Vanishing(conn, STAYS), HOME, STAYS) is None


@pytest.mark.libvirt
@pytest.mark.usefixtures("libvirtd")
def test_the_tests_themselves_bear_it() -> None:
    assert not _is_of("no-such-domain", HOME)
