"""What a flavor's extra specs may say."""

import msgspec
import pytest

from domain.catalogue.flavor import Flavor
from domain.catalogue.flavor_specs import HARDWARE, SAME_WITHOUT, check, scheduling, validate
from domain.errors import Invalid, Refused
from domain.image_properties import PROPERTIES
from tests.domain.server.servers import FLAVOR

SIZES = {"VCPU": 1, "MEMORY_MB": 512, "DISK_GB": 1}
"""Of FLAVOR."""


def _flavor(specs: dict[str, str]) -> Flavor:
    return msgspec.structs.replace(FLAVOR, extra_specs=specs)


@pytest.mark.parametrize("name", sorted(SAME_WITHOUT))
def test_hardware_is_what_the_image_property_of_that_name_is(name: str) -> None:
    rule = PROPERTIES[f"hw_{name}"]
    for value in (*rule.values, *(rule.here or ())):
        validate({HARDWARE + name: value})
        if rule.gives(value):
            check(_flavor({HARDWARE + name: value}))
        else:
            with pytest.raises(Refused, match="not supported by this cloud"):
                check(_flavor({HARDWARE + name: value}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hw:bogus", "1"),
        ("hw:cpu_policy", "foo"),
        ("hw:numa_nodes", "-1"),
        ("hw:pci_numa_affinity_policy.0", "legacy"),
        ("hw:redirected_usb_ports", "all"),
        ("trait:CUSTOM_A", "wanted"),
        ("trait:lower", "required"),
        ("resources:VCPU", "-1"),
        ("resources:VCPU", "1\n"),
        ("resources:VCPU", "\N{ARABIC-INDIC DIGIT ONE}"),
    ],
)
def test_nonsense_is_refused_and_asks_for_nothing(name: str, value: str) -> None:
    with pytest.raises(Invalid):
        validate({name: value})
    assert scheduling(_flavor({name: value})) == (SIZES, frozenset(), frozenset())


@pytest.mark.parametrize(
    "name",
    [
        "quota:cpu_shares",
        "resources1:VCPU",
        "trait_x:CUSTOM_A",
        "group_policy",
        "hw:watchdog_action",
        "hw:numa_mem.0",
    ],
)
def test_what_would_be_without_effect_is_refused_for_a_server_only(name: str) -> None:
    specs = {name: "pause"}
    validate(specs)
    with pytest.raises(Refused) as refusal:
        check(_flavor(specs))
    assert refusal.value.status == 400


@pytest.mark.parametrize(
    ("name", "value"), [("mem_encryption_model", "amd-sev"), ("pmem", "a,b"), ("usb_model", "qemu-xhci")]
)
def test_what_only_others_give_is_named_as_nova_names_it(name: str, value: str) -> None:
    validate({HARDWARE + name: value})
    with pytest.raises(Refused, match="not supported by this cloud"):
        check(_flavor({HARDWARE + name: value}))


def test_what_the_scheduler_obeys() -> None:
    flavor = _flavor(
        {
            "resources:VCPU": "0",
            "resources:CUSTOM_GOLD": "2",
            "trait:CUSTOM_A": "required",
            "trait:CUSTOM_B": "forbidden",
            "own": "anything",
        }
    )
    check(flavor)
    resources = {"MEMORY_MB": 512, "DISK_GB": 1, "CUSTOM_GOLD": 2}
    assert scheduling(flavor) == (resources, {"CUSTOM_A"}, {"CUSTOM_B"})


def test_a_server_of_nothing_is_refused() -> None:
    nothing = {f"resources:{name}": "0" for name in SIZES}
    with pytest.raises(Refused, match="no resources") as refusal:
        check(_flavor(nothing))
    assert refusal.value.status == 400
    check(_flavor(nothing | {"resources:CUSTOM_BAREMETAL": "1"}))
