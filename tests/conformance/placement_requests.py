"""Random requests to Placement, sensible and not: names from small pools, so that they meet each other."""

from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple
from uuid import NAMESPACE_DNS, uuid5

MINORS = (0, 6, 10, 12, 13, 14, 17, 19, 20, 22, 23, 24, 25, 26, 27, 28, 29, 31, 32, 33, 34, 35, 36, 37, 38, 39)


class Asked(NamedTuple):
    """One request."""

    method: str
    path: str
    body: Any
    minor: int


def _ids(kind: str, count: int) -> list[str]:
    return [str(uuid5(NAMESPACE_DNS, f"{kind}-{number}")) for number in range(count)]


PROVIDERS, CONSUMERS, AGGREGATES = _ids("provider", 7), _ids("consumer", 6), _ids("aggregate", 3)
CLASSES = ["VCPU", "MEMORY_MB", "CUSTOM_GOLD", "CUSTOM_IRON"]
TRAITS = ["HW_CPU_X86_AVX2", "MISC_SHARES_VIA_AGGREGATE", "CUSTOM_RED", "CUSTOM_BLUE"]
UNKNOWN = str(uuid5(NAMESPACE_DNS, "nobody"))


class Requests:
    """A stream of them. ``generation`` tells the present generation of a provider (-1 if there is none),
    ``consumer_generation`` that of a consumer (None if it has none): mostly the right one is sent."""

    def __init__(
        self, random: Random, generation: Callable[[str], int], consumer_generation: Callable[[str], int | None]
    ) -> None:
        self._random = random
        self._generation = generation
        self._consumer_generation = consumer_generation
        self._makers: list[tuple[int, Callable[[int], tuple[str, str, Any]]]] = [
            (8, self._create_provider),
            (3, self._update_provider),
            (2, self._delete_provider),
            (12, self._inventories),
            (6, self._inventory),
            (6, self._traits),
            (5, self._aggregates),
            (4, self._vocabulary),
            (20, self._claim),
            (6, self._claims),
            (5, self._release),
            (4, self._reshape),
            (14, self._read),
            (8, self._list),
            (16, self._candidates),
        ]

    def next(self) -> Asked:
        """One more."""
        minor = self._random.choice((*MINORS, *[39] * 12))
        maker = self._random.choices([maker for _, maker in self._makers], [weight for weight, _ in self._makers])[0]
        return Asked(*maker(minor), minor)

    def _provider(self) -> str:
        return self._random.choice([*PROVIDERS * 4, UNKNOWN])

    def _class(self) -> str:
        return self._random.choice([*CLASSES * 3, "CUSTOM_NONE"])

    def _trait(self) -> str:
        return self._random.choice([*TRAITS * 5, "CUSTOM_NONE"])

    def _present(self, provider_id: str) -> int:
        return self._generation(provider_id) + self._random.choice([0] * 9 + [1])

    def _some(self, pool: list[str], most: int) -> list[str]:
        return self._random.sample(pool, self._random.randint(0, min(most, len(pool))))

    def _create_provider(self, minor: int) -> tuple[str, str, Any]:
        number = self._random.randrange(len(PROVIDERS))
        body: dict[str, Any] = {"name": f"provider-{number}", "uuid": PROVIDERS[number]}
        if minor >= 14 and self._random.random() < 0.5:
            body["parent_provider_uuid"] = self._random.choice([*PROVIDERS, None])
        if self._random.random() < 0.05:
            body = self._random.choice([{}, {"name": 7}, {"name": "x", "colour": "red"}, {"name": "x", "uuid": "y"}])
        return "POST", "/resource_providers", body

    def _update_provider(self, minor: int) -> tuple[str, str, Any]:
        provider_id = self._provider()
        number = PROVIDERS.index(provider_id) if provider_id in PROVIDERS else 0
        body: dict[str, Any] = {"name": f"provider-{self._random.choice([number] * 9 + [0])}"}
        if minor >= 14:
            body["parent_provider_uuid"] = self._random.choice([*PROVIDERS, None])
        return "PUT", f"/resource_providers/{provider_id}", body

    def _delete_provider(self, _minor: int) -> tuple[str, str, Any]:
        return "DELETE", f"/resource_providers/{self._provider()}", None

    def _one_inventory(self) -> dict[str, Any]:
        body: dict[str, Any] = {"total": self._random.randint(1, 20)}
        for name, choices in (
            ("reserved", (0, 1, 3, 20)),
            ("min_unit", (1, 2)),
            ("max_unit", (2, 10)),
            ("step_size", (1, 2)),
            ("allocation_ratio", (1.0, 1.5, 16.0)),
        ):
            if self._random.random() < 0.25:
                body[name] = self._random.choice(choices)
        return body

    def _inventories(self, _minor: int) -> tuple[str, str, Any]:
        provider_id = self._provider()
        classes = self._some([*CLASSES, *CLASSES[:2]], 4) if self._random.random() < 0.95 else [self._class()]
        body = {
            "resource_provider_generation": self._present(provider_id),
            "inventories": {name: self._one_inventory() for name in classes},
        }
        return "PUT", f"/resource_providers/{provider_id}/inventories", body

    def _inventory(self, _minor: int) -> tuple[str, str, Any]:
        provider_id, name = self._provider(), self._class()
        path = f"/resource_providers/{provider_id}/inventories"
        kind = self._random.randrange(4)
        if kind == 0:
            return "POST", path, self._one_inventory() | {"resource_class": name}
        if kind == 1:
            body = self._one_inventory() | {"resource_provider_generation": self._present(provider_id)}
            return "PUT", f"{path}/{name}", body
        return "DELETE", path if kind == 2 and self._random.random() < 0.3 else f"{path}/{name}", None

    def _traits(self, _minor: int) -> tuple[str, str, Any]:
        provider_id = self._provider()
        path = f"/resource_providers/{provider_id}/traits"
        if self._random.random() < 0.1:
            return "DELETE", path, None
        traits = self._some(TRAITS, 3) + (["CUSTOM_NONE"] if self._random.random() < 0.05 else [])
        return "PUT", path, {"traits": traits, "resource_provider_generation": self._present(provider_id)}

    def _aggregates(self, minor: int) -> tuple[str, str, Any]:
        provider_id = self._provider()
        body: Any = self._some(AGGREGATES, 2)
        if minor >= 19:
            body = {"aggregates": body, "resource_provider_generation": self._present(provider_id)}
        return "PUT", f"/resource_providers/{provider_id}/aggregates", body

    def _vocabulary(self, minor: int) -> tuple[str, str, Any]:
        method = self._random.choice(["PUT", "PUT", "PUT", "DELETE", "GET"])
        if self._random.random() < 0.5:
            return method, f"/traits/{self._random.choice([*TRAITS, 'custom_small', 'CUSTOM_NONE'])}", None
        name = self._random.choice([*CLASSES, "CUSTOM_NONE"])
        if method == "PUT" and 2 <= minor < 7:
            return method, f"/resource_classes/{name}", {"name": self._random.choice(CLASSES)}
        return method, f"/resource_classes/{name}", None

    def _consumer_body(self, consumer_id: str, minor: int, *, may_be_empty: bool, alone: bool) -> dict[str, Any]:
        present = [one for one in PROVIDERS if self._generation(one) >= 0]
        # The real one forgets to remove a new consumer whose provider it does not find, and refuses it ever after.
        pool = PROVIDERS if alone and self._consumer_generation(consumer_id) is not None else present
        providers = self._some(pool, 2) or ([] if may_be_empty or not pool else [self._random.choice(pool)])
        by_provider = {
            provider_id: {"resources": {name: self._random.randint(1, 6) for name in self._classes()}}
            for provider_id in providers
        }
        body: dict[str, Any] = {"allocations": by_provider}
        if minor < 12:
            listed = [{"resource_provider": {"uuid": one}, **inner} for one, inner in by_provider.items()]
            body["allocations"] = listed
        if minor >= 8:
            body |= {"project_id": self._random.choice(["p1", "p2"]), "user_id": self._random.choice(["u1", "u2"])}
        if minor >= 28:
            known = self._consumer_generation(consumer_id)
            body["consumer_generation"] = self._random.choice([known] * 9 + [None, 5])
        if minor >= 34 and self._random.random() < 0.3:
            body["mappings"] = {"_group": [PROVIDERS[0]]}
        if minor >= 38:
            body["consumer_type"] = self._random.choice(["INSTANCE", "MIGRATION"])
        return body

    def _classes(self) -> list[str]:
        return self._some(CLASSES, 3) or [self._class()]

    def _claim(self, minor: int) -> tuple[str, str, Any]:
        consumer_id = self._random.choice(CONSUMERS)
        known = self._consumer_generation(consumer_id) is not None
        body = self._consumer_body(consumer_id, minor, may_be_empty=minor >= 28 and known, alone=True)
        if self._random.random() < 0.03:
            body.pop("allocations")
        return "PUT", f"/allocations/{consumer_id}", body

    def _claims(self, minor: int) -> tuple[str, str, Any]:
        return "POST", "/allocations", self._bodies(max(minor, 12))

    def _bodies(self, minor: int) -> dict[str, Any]:
        chosen = self._random.sample(CONSUMERS, self._random.randint(1, 3))
        return {
            consumer_id: self._consumer_body(
                consumer_id, minor, may_be_empty=self._consumer_generation(consumer_id) is not None, alone=False
            )
            for consumer_id in chosen
        }

    def _release(self, _minor: int) -> tuple[str, str, Any]:
        return "DELETE", f"/allocations/{self._random.choice(CONSUMERS)}", None

    def _reshape(self, minor: int) -> tuple[str, str, Any]:
        providers = self._random.sample(PROVIDERS, self._random.randint(1, 2))
        inventories = {
            one: {
                "resource_provider_generation": self._present(one),
                "inventories": {name: self._one_inventory() for name in self._some(CLASSES, 4)},
            }
            for one in providers
        }
        allocations = self._bodies(max(minor, 28)) if self._random.random() < 0.7 else {}
        return "POST", "/reshaper", {"inventories": inventories, "allocations": allocations}

    def _read(self, _minor: int) -> tuple[str, str, Any]:
        own = f"/resource_providers/{self._provider()}"
        paths = [
            own,
            *(f"{own}/{rest}" for rest in ("inventories", "usages", "aggregates", "traits", "allocations")),
            f"{own}/inventories/{self._class()}",
            f"/allocations/{self._random.choice(CONSUMERS)}",
            f"/allocations/{self._random.choice(CONSUMERS)}",
            "/usages?project_id=p1",
            "/usages?project_id=p2&user_id=u1",
            "/usages?project_id=p1&consumer_type=INSTANCE",
            "/usages?project_id=p1&consumer_type=all",
            "/usages?project_id=p1&consumer_type=unknown",
            "/traits?associated=true",
            "/traits?name=startswith:CUSTOM_",
            "/resource_classes",
            f"/resource_classes/{self._class()}",
        ]
        return "GET", self._random.choice(paths), None

    def _list(self, _minor: int) -> tuple[str, str, Any]:
        return "GET", "/resource_providers?" + "&".join(self._some(self._filters(""), 3)), None

    def _filters(self, suffix: str) -> list[str]:
        one, other = self._random.sample(AGGREGATES, 2)
        return [
            f"in_tree{suffix}={self._provider()}",
            f"member_of{suffix}={one}",
            f"member_of{suffix}=in:{one},{other}",
            f"member_of{suffix}=!{one}",
            f"required{suffix}={self._trait()}",
            f"required{suffix}=!{self._trait()}",
            f"required{suffix}=in:{self._trait()},{self._trait()}",
            self._resources(suffix),
        ]

    def _resources(self, suffix: str, pool: list[str] = CLASSES) -> str:
        classes = self._random.sample(pool, min(len(pool), self._random.choice([1, 1, 2])))
        if self._random.random() < 0.05:
            classes = ["CUSTOM_NONE"]
        return f"resources{suffix}=" + ",".join(f"{name}:{self._random.choice([1, 1, 2, 4])}" for name in classes)

    def _candidates(self, minor: int) -> tuple[str, str, Any]:
        suffixes = (self._some(["", "1", "2"], 3) if minor >= 25 else []) or [""]
        policy = self._random.choice(["none", "isolate"])
        parts = [f"group_policy={policy}"] if len(suffixes) > 1 else []
        # Unless the policy is none, the real one adds amounts up wrongly where groups ask for the same class.
        pools = dict(zip(("", "1", "2"), ([CLASSES[0]], CLASSES[1:3], CLASSES[3:]), strict=True))
        for suffix in suffixes:
            parts.append(self._resources(suffix, pools[suffix] if policy == "isolate" else CLASSES))
            parts += [part for part in self._some(self._filters(suffix)[:-1], 2) if self._random.random() < 0.4]
        if minor >= 35 and self._random.random() < 0.1:
            parts.append(f"root_required={self._random.choice(['', '!'])}{self._trait()}")
        if minor >= 36 and {"1", "2"} <= set(suffixes) and self._random.random() < 0.4:
            parts.append("same_subtree=1,2")
        return "GET", "/allocation_candidates?" + "&".join(parts), None
