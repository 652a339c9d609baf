"""Who may do what: Placement's default policy, and what an operator's policy file makes of it."""

from collections.abc import Mapping

from adapters.rest.kit.policy_checks import Check, parse
from adapters.rest.placement.access import Actor
from domain.errors import Refused

ADMIN_OR_SERVICE = "admin_or_service_api"
"""The rule of nearly everything."""
SERVICE = "service_api"
"""The rule of reshaping."""
PROJECT_READER = "admin_or_project_reader_or_service_api"
"""The rule of a project's usages."""

DEFAULTS = {
    "admin_api": "role:admin",
    SERVICE: "role:admin and role:service",
    ADMIN_OR_SERVICE: "role:admin",
    "project_reader_api": "role:reader and project_id:%(project_id)s",
    PROJECT_READER: "role:admin or rule:project_reader_api",
}
"""The role ``service`` alone allows nothing: such roles used to lie on hosts, and what a host holds must not be good
for changing the ledger."""
TRUSTING = {
    SERVICE: "role:service",
    ADMIN_OR_SERVICE: "role:admin or role:service",
    PROJECT_READER: "role:admin or rule:project_reader_api or role:service",
}
"""What the real Placement has instead."""
OLD_DEFAULT = "rule:admin_api"
"""What was enough for everything before there were services and readers."""


class Policy:
    """Every rule by its name. ``overrides`` go before the defaults; with ``old_defaults`` administrators may do
    everything, as in the days before services, and with ``trust_services`` services may, as in the real Placement."""

    def __init__(
        self,
        overrides: Mapping[str, str] | None = None,
        *,
        old_defaults: bool = False,
        trust_services: bool = False,
    ) -> None:
        self._texts = DEFAULTS | (TRUSTING if trust_services else {}) | dict(overrides or {})
        self._old_defaults = old_defaults
        self._overridden = frozenset(overrides or {})
        self._checks: dict[str, Check] = {}
        for name, text in self._texts.items():
            self._rule(name, text)

    def check(self, actor: Actor, query: Mapping[str, str], policy: str, rule: str) -> None:
        """Raise Refused (403) unless the actor may do what ``policy`` names; ``rule`` is its default."""
        allowed = self._checks.get(policy) or self._rule(policy, f"rule:{rule}")
        # Nothing here is for those who act on the system and in no project.
        if actor.of_system or not allowed(actor, query):
            raise Refused("forbidden", f"Policy does not allow {policy} to be performed.", status=403)

    def _rule(self, name: str, text: str) -> Check:
        if self._old_defaults and ":" in name and name not in self._overridden:
            text = f"{text} or {OLD_DEFAULT}"
        check = self._checks[name] = parse(text, self._checks)
        return check
