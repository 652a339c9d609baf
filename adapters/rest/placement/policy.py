"""Who may do what: Placement's default policy, and what an operator's policy file makes of it.

The file is that of oslo.policy, flat: one ``"rule": "check"`` a line. A check is made of ``role:NAME``,
``rule:NAME``, ``project_id:%(project_id)s``, ``@`` (anybody), ``!`` (nobody), ``and``, ``or``, ``not``, parentheses.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from adapters.rest.placement.access import Actor
from domain.errors import Invalid, Refused

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

Check = Callable[[Actor, Mapping[str, str]], bool]
"""Whether an actor may make a request with these query parameters."""

_TOKEN = re.compile(r"\(|\)|[^\s()]+")


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
        check = self._checks[name] = _Parser(text, self._checks).check()
        return check


class _Parser:
    """Of one check's text."""

    def __init__(self, text: str, rules: Mapping[str, Check]) -> None:
        self._text = text
        self._rules = rules
        self._tokens = _TOKEN.findall(text.replace("%(project_id)s", "%project_id"))

    def check(self) -> Check:
        """All of it. An empty check lets everybody in. Raises Invalid."""
        if not self._tokens:
            return _anybody
        found = self._either()
        if self._tokens:
            raise self._malformed()
        return found

    def _malformed(self) -> Invalid:
        return Invalid(f"The policy {self._text!r} is not understood.")

    def _take(self, word: str) -> bool:
        if self._tokens and self._tokens[0].lower() == word:
            del self._tokens[0]
            return True
        return False

    def _either(self) -> Check:
        ways = [self._both()]
        while self._take("or"):
            ways.append(self._both())
        return lambda actor, query: any(way(actor, query) for way in ways)

    def _both(self) -> Check:
        parts = [self._one()]
        while self._take("and"):
            parts.append(self._one())
        return lambda actor, query: all(part(actor, query) for part in parts)

    def _one(self) -> Check:
        if self._take("not"):
            inner = self._one()
            return lambda actor, query: not inner(actor, query)
        if self._take("("):
            inner = self._either()
            if not self._take(")"):
                raise self._malformed()
            return inner
        if not self._tokens:
            raise self._malformed()
        return self._single(self._tokens.pop(0))

    def _single(self, token: str) -> Check:
        kind, _, value = token.partition(":")
        match kind:
            case "@":
                return _anybody
            case "!":
                return lambda _actor, _query: False
            case "role":
                return lambda actor, _query: value in actor.roles
            case "rule":
                return lambda actor, query: self._rules[value](actor, query) if value in self._rules else False
            case "project_id":
                return lambda actor, query: actor.project_id == query.get("project_id")
        raise self._malformed()


def _anybody(_actor: Actor, _query: Mapping[str, str]) -> bool:
    return True


def read_overrides(file: Path) -> dict[str, str]:
    """The rules of a policy file. Raises Invalid, naming the line."""
    try:
        lines = file.read_text().splitlines()
    except OSError as error:
        raise Invalid(f"The policy file {file} cannot be read: {error.strerror}.") from None
    found = {}
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        match = re.fullmatch(r"""(["']?)([A-Za-z0-9_:]+)\1\s*:\s+(["']?)(.*?)\3""", text)
        if match is None:
            raise Invalid(f'{file}, line {number}: expected "rule": "check", not {text}')
        found[match[2]] = match[4]
    return found
