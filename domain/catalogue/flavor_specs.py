"""What a flavor's extra specs ask for: Nova's names, and which of them are obeyed here.

https://docs.openstack.org/nova/latest/configuration/extra-specs.html. A spec outside Nova's namespaces says nothing,
and may be anything.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from domain.catalogue.flavor import Flavor
from domain.errors import Invalid, LightcurveError, Refused
from domain.image_properties import PROPERTIES

NUMBER = re.compile(r"[0-9]{1,9}")
NAME = re.compile(r"[A-Z0-9_]{1,255}")
RESOURCES, TRAIT, HARDWARE = "resources:", "trait:", "hw:"
NOT_HERE = re.compile(
    r"(accel|aggregate_instance_extra_specs|capabilities|hw_rng|hw_video|os|pci_passthrough|powervm|quota|vmware):"
    r"|resources_?[A-Za-z0-9_-]+:|trait_?[A-Za-z0-9_-]+:|(group_policy|hide_hypervisor_id)\Z"
)
"""Names of what Nova would do."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


SAME_WITHOUT = _words(
    "cpu_cores cpu_max_cores cpu_max_sockets cpu_max_threads cpu_policy cpu_sockets cpu_thread_policy "
    "cpu_threads emulator_threads_policy hide_hypervisor_id locked_memory mem_encryption mem_page_size "
    "numa_nodes pci_numa_affinity_policy redirected_usb_ports serial_port_count sound_model viommu_model"
)
"""Of the hardware: what every guest has, if it is given at all. It equals the image properties of these names."""
ONLY_ELSEWHERE = _words(
    "boot_menu cpu_dedicated_mask cpu_realtime cpu_realtime_mask ephemeral_encryption "
    "ephemeral_encryption_format maxphysaddr_bits maxphysaddr_mode mem_encryption_model pmem pmu tpm_model "
    "tpm_secret_security tpm_version usb_model vif_multiqueue_enabled virtio_packed_ring watchdog_action"
)
"""Further names that Nova has."""
ONE_OF_MANY = re.compile(r"(numa_cpus|numa_mem)\.[0-9]+")


class Scheduling(NamedTuple):
    """What a flavor asks of a host."""

    resources: dict[str, int]
    """The specs' amounts go before those that the sizes make. There is none of 0."""
    required: frozenset[str]
    """Traits."""
    forbidden: frozenset[str]


def scheduling(flavor: Flavor) -> Scheduling:
    """What is obeyed by the choice of a host. What ``validate`` refuses is left out: older
    flavors may say anything."""
    good = {name: value for name, value in flavor.extra_specs.items() if _error(name, value) is None}
    disk_gb = flavor.disk_gb + flavor.ephemeral_gb + (flavor.swap_mb + 1023) // 1024
    resources = {"VCPU": flavor.vcpus, "MEMORY_MB": flavor.ram_mb, "DISK_GB": disk_gb}
    resources |= {name.removeprefix(RESOURCES): int(n) for name, n in good.items() if name.startswith(RESOURCES)}
    traits = {name.removeprefix(TRAIT): word for name, word in good.items() if name.startswith(TRAIT)}
    return Scheduling(
        {name: amount for name, amount in resources.items() if amount},
        frozenset(name for name, word in traits.items() if word == "required"),
        frozenset(name for name, word in traits.items() if word == "forbidden"),
    )


def validate(specs: Mapping[str, str]) -> None:
    """Raise Invalid for a value that a spec does not have, or a name that its namespace does not have."""
    for name, value in specs.items():
        if error := _error(name, value):
            raise error


def check(flavor: Flavor) -> None:
    """Raise Invalid as ``validate`` does, and Refused (400) for what a server of this flavor would not be given."""
    validate(flavor.extra_specs)
    for name, value in flavor.extra_specs.items():
        if NOT_HERE.match(name) or (name.startswith(HARDWARE) and not _is_given(name.removeprefix(HARDWARE), value)):
            raise Refused(
                "flavor.not_supported",
                f"Flavor extra spec {name[:64]} {value[:64]!r} is not supported by this cloud.",
                status=400,
            )
    if not scheduling(flavor).resources:
        # No search for a host begins with nothing: the server could only fail.
        raise Refused(
            "flavor.asks_for_nothing",
            f"The extra specs of flavor {flavor.id} leave no resources to ask for.",
            status=400,
        )


def _is_given(name: str, value: str) -> bool:
    if name not in SAME_WITHOUT:
        return False
    known = PROPERTIES[f"hw_{name}"]
    word = known.read(value)
    return word is not None and known.gives(word)


def _error(name: str, value: str) -> LightcurveError | None:
    if name.startswith(RESOURCES):
        good = bool(NAME.fullmatch(name.removeprefix(RESOURCES)) and NUMBER.fullmatch(value))
    elif name.startswith(TRAIT):
        good = bool(NAME.fullmatch(name.removeprefix(TRAIT))) and value in ("required", "forbidden")
    elif name.startswith(HARDWARE):
        good = _is_hardware(name.removeprefix(HARDWARE), value)
    else:
        good = True
    return None if good else Invalid(f"Validation failed; extra spec {name[:64]!r} has no value {value[:64]!r}.")


def _is_hardware(name: str, value: str) -> bool:
    if ONE_OF_MANY.fullmatch(name):
        return True
    if name not in SAME_WITHOUT | ONLY_ELSEWHERE:
        return False
    known = PROPERTIES.get(f"hw_{name}")
    return known is None or known.read(value) is not None
