"""Who may call what: the access that an operation declares, unless the operator's policy file says otherwise.

A single server, image or network of another project is another matter: handlers find it for administrators only,
whatever the file says. Lists of all projects have a rule.
"""

from collections.abc import Iterable, Mapping

from adapters.rest.kit.caller import Caller
from adapters.rest.kit.policy_checks import Check, parse
from domain.errors import Refused

BASE = {
    "context_is_admin": "role:admin",
    "project_member_api": "role:member and project_id:%(project_id)s",
    "project_reader_api": "role:reader and project_id:%(project_id)s",
    "project_member_or_admin": "rule:project_member_api or rule:context_is_admin",
    "project_reader_or_admin": "rule:project_reader_api or rule:context_is_admin",
}
"""The rules that others are made of; their names and defaults are Nova's."""


class Policy:
    """Every rule by its name; ``overrides`` go before the defaults. Raises Invalid for a check that is none."""

    def __init__(self, overrides: Mapping[str, str] | None = None) -> None:
        self._overridden = dict(overrides or {})
        self._checks: dict[str, Check] = {}
        for name, text in (BASE | self._overridden).items():
            self._checks[name] = parse(text, self._checks)
        self._defaults: dict[str, Check] = {}
        """By their text."""

    def allows(self, caller: Caller, rule: str, default: str, **target: str) -> bool:
        """Whether the caller may do what the rule is about, and whose default is this check, to what belongs to
        ``project_id`` and ``user_id``: the caller's own, unless they are named."""
        check = self._checks[rule] if rule in self._overridden else self._defaults.get(default)
        if check is None:
            check = self._defaults[default] = parse(default, self._checks)
        return check(caller, {"project_id": caller.project_id, "user_id": caller.user_id} | target)

    def unknown(self, rules: Iterable[str]) -> list[str]:
        """The names in the file that are none of these rules, which nobody will ask for."""
        return sorted(self._overridden.keys() - BASE.keys() - set(rules) - self._named())

    def _named(self) -> set[str]:
        """The rules that others in the file refer to."""
        words = " ".join(self._overridden.values()).replace("(", " ").replace(")", " ").split()
        return {word.removeprefix("rule:") for word in words if word.startswith("rule:")}


def forbidden(rule: str) -> Refused:
    """A refusal in Nova's words."""
    return Refused("forbidden", f"Policy doesn't allow {rule} to be performed.", status=403)
