"""What is wanted of a server is the same in the request, in the events and in the server."""

from typing import get_type_hints

import msgspec
import pytest

from adapters.rest.compute.servers import create
from adapters.rest.compute.servers.actions import rebuild as rebuild_action
from adapters.rest.compute.servers.create_body import NewServerBody
from adapters.rest.compute.servers.rebuild_body import RebuildArguments
from domain.server.actions.rebuild import RENEWED, ServerRebuildRequested
from domain.server.creation import ServerRequested
from domain.server.state import Server
from domain.server.wish import FIELDS, Wish, wish_of
from handlers.servers.requests import NewServer
from tests.domain.server.servers import given

WISH = get_type_hints(Wish)


@pytest.mark.parametrize("kind", [NewServer, ServerRequested, Server])
def test_who_speaks_of_a_wish_has_all_of_it(kind: type) -> None:
    assert {name: hint for name, hint in get_type_hints(kind).items() if name in WISH} == WISH


def test_a_rebuild_renews_some_of_it() -> None:
    plain = ("name", "image", "key_name", "public_key", "metadata", "description", "hostname")
    assert (*plain, "access_ipv4", "access_ipv6") == RENEWED
    hints = get_type_hints(ServerRebuildRequested)
    needed = WISH | {"image": hints["image"]}  # a server without one cannot be rebuilt
    assert {name: hints[name] for name in RENEWED} == {name: needed[name] for name in RENEWED}


@pytest.mark.parametrize(
    ("body", "names"), [(NewServerBody, create.AS_ASKED), (RebuildArguments, rebuild_action.AS_ASKED)]
)
def test_what_is_taken_as_it_is_asked_stands_in_the_body(body: type[msgspec.Struct], names: tuple[str, ...]) -> None:
    assert set(names) <= set(body.__struct_fields__)


def test_a_copy_is_whole() -> None:
    server = given("active")
    assert server
    assert tuple(wish_of(server)) == FIELDS
    assert all(value is getattr(server, name) for name, value in wish_of(server).items())
