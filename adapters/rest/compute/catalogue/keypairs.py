"""Keypairs. https://docs.openstack.org/api-ref/compute/#keypairs-keypairs"""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from adapters.rest.compute import inner_rules, links
from adapters.rest.compute.catalogue.ssh_keys import fingerprint, new_pair
from adapters.rest.kit import since
from adapters.rest.kit.errors import not_implemented
from adapters.rest.kit.operation import Access, Call, Operations, Reply, empty
from adapters.rest.kit.paging import cut
from adapters.rest.kit.times import micros
from adapters.rest.kit.validation import Body, Text255, Versions
from domain.catalogue import keypair as keypairs
from domain.catalogue.keypair import Keypair, Keypairs
from domain.errors import Invalid
from domain.log.record import Event

operations = Operations()

MAX_PUBLIC_KEY = 16384
"""Characters."""

KeypairName = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^(?! )[a-zA-Z0-9 @._-]+(?<! )\Z")]

QUERY = frozenset(("limit", "marker", "user_id"))


class NewKeypair(Body):
    name: KeypairName
    type: Annotated[Literal["ssh", "x509"] | UnsetType, Versions(2)] = UNSET
    public_key: Annotated[str, Meta(max_length=MAX_PUBLIC_KEY)] | UnsetType = UNSET
    user_id: Annotated[Text255 | UnsetType, Versions(10)] = UNSET


class CreateBody(Body):
    """``{"keypair": …}``."""

    keypair: NewKeypair


def _user(call: Call, named: str | None) -> str:
    """Whose keys: one's own, or from 2.10 on, for an administrator, another's."""
    own = call.context.user_id
    assert own
    if named is None or named == own or call.minor < since.KEYPAIRS_OF_OTHERS:
        return own
    call.require(inner_rules.KEYS_OF_OTHERS, user_id=named)
    return named


def _keys(call: Call, user_id: str) -> Keypairs:
    return call.services.registry.of(keypairs.KIND, user_id) or Keypairs()


async def _execute(call: Call, user_id: str, decide: Callable[[Keypairs | None], Event]) -> None:
    _, accepted = await call.services.registry.execute(call.context, keypairs.aggregate(user_id), decide)
    await call.settle(accepted)


def _document(call: Call, keypair: Keypair) -> dict[str, Any]:
    shown = {"name": keypair.name, "public_key": keypair.public_key, "fingerprint": keypair.fingerprint}
    return shown | ({"type": keypair.key_type} if call.minor >= since.KEYPAIR_TYPES else {})


@operations("GET", "/os-keypairs", Access.READER, "os_compute_api:os-keypairs:index", query=QUERY)
async def index(call: Call) -> Any:
    """A user's keypairs, by name."""
    known = _keys(call, _user(call, call.query.get("user_id")))
    found = [known.by_name[name] for name in sorted(known.by_name)]
    if call.minor < since.KEYPAIR_PAGES:
        return {"keypairs": [{"keypair": _document(call, keypair)} for keypair in found]}
    page, more = cut(found, call.query, lambda keypair: keypair.name)
    answer: dict[str, Any] = {"keypairs": [{"keypair": _document(call, keypair)} for keypair in page]}
    if more:
        answer["keypairs_links"] = links.following(call, "/os-keypairs", page[-1].name)
    return answer


@operations("GET", "/os-keypairs/{name}", Access.READER, "os_compute_api:os-keypairs:show",
            query=frozenset(("user_id",)))  # fmt: skip
async def show(call: Call) -> Any:
    user_id = _user(call, call.query.get("user_id"))
    keypair = _keys(call, user_id).get(call.params["name"])
    return {
        "keypair": _document(call, keypair)
        | {
            "user_id": user_id,
            "id": 0,
            "created_at": micros(keypair.created_at),
            "updated_at": None,
            "deleted": False,
            "deleted_at": None,
        }
    }


@operations("POST", "/os-keypairs", Access.READER, "os_compute_api:os-keypairs:create", body=CreateBody)
async def create(call: Call) -> Reply:
    """Import a public key, or (before 2.92) make a pair and show its private part this once."""
    asked: NewKeypair = call.body.keypair
    user_id = _user(call, asked.user_id if asked.user_id is not UNSET else None)
    if asked.type is not UNSET and asked.type == "x509":
        raise not_implemented("A keypair of type x509")
    if asked.public_key is UNSET and call.minor >= since.KEYPAIRS_ARE_IMPORTED:
        raise Invalid(
            f"Invalid input for field/attribute keypair. Value: {{'name': '{asked.name}'}}. 'public_key' is a "
            "required property"
        )
    if call.minor < since.KEYPAIRS_ARE_IMPORTED and {"@", "."}.intersection(asked.name):
        raise Invalid(
            f"Invalid input for field/attribute name. Value: {asked.name}. Dots and at signs are allowed from 2.92 on"
        )
    private_key = None
    if asked.public_key is UNSET:
        private_key, public_key = new_pair(asked.name)
    else:
        public_key = asked.public_key  # kept as it was given: tools compare what they sent with what they see
    print_of_key = fingerprint(public_key)

    def decide(known: Keypairs | None) -> Event:
        return keypairs.create(
            known, name=asked.name, key_type="ssh", public_key=public_key, fingerprint=print_of_key
        )

    await _execute(call, user_id, decide)
    shown: dict[str, Any] = {
        "name": asked.name,
        "public_key": public_key,
        "fingerprint": print_of_key,
        "user_id": user_id,
    }
    if call.minor >= since.KEYPAIR_TYPES:
        shown["type"] = "ssh"
    if private_key:
        shown["private_key"] = private_key
    return Reply({"keypair": shown}, status=201 if call.minor >= since.KEYPAIR_TYPES else 200)


@operations("DELETE", "/os-keypairs/{name}", Access.READER, "os_compute_api:os-keypairs:delete",
            query=frozenset(("user_id",)))  # fmt: skip
async def delete(call: Call) -> Any:
    user_id = _user(call, call.query.get("user_id"))
    await _execute(call, user_id, lambda known: keypairs.delete(known, call.params["name"]))
    return empty(204 if call.minor >= since.KEYPAIR_TYPES else 202)
