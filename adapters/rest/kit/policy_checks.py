"""The checks of a policy, in the words of oslo.policy, and the file that an operator writes them in.

The file is flat: one ``"rule": "check"`` a line. A check is made of ``role:NAME``, ``rule:NAME``,
``project_id:%(project_id)s``, ``user_id:%(user_id)s``, ``@`` (anybody), ``!`` (nobody), ``and``, ``or``, ``not``,
parentheses.
"""

import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Protocol

from domain.errors import Invalid


class Subject(Protocol):
    """Who wants to do something."""

    @property
    def user_id(self) -> str: ...
    @property
    def project_id(self) -> str | None: ...
    @property
    def roles(self) -> Collection[str]: ...


Check = Callable[[Subject, Mapping[str, str | None]], bool]
"""Whether somebody may act on what belongs to that ``project_id`` and ``user_id``."""

_TOKEN = re.compile(r"\(|\)|[^\s()]+")


def parse(text: str, rules: Mapping[str, Check]) -> Check:
    """The check that the text says; ``rules`` are those that it may name, now or later. Raises Invalid."""
    return _Parser(text, rules).check()


class _Parser:
    """Reads the text of one check."""

    def __init__(self, text: str, rules: Mapping[str, Check]) -> None:
        self._text = text
        self._rules = rules
        self._tokens = _TOKEN.findall(text.replace("%(", "%").replace(")s", ""))

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
        if len(ways) == 1:
            return ways[0]
        return lambda actor, target: any(way(actor, target) for way in ways)

    def _both(self) -> Check:
        parts = [self._one()]
        while self._take("and"):
            parts.append(self._one())
        if len(parts) == 1:
            return parts[0]
        return lambda actor, target: all(part(actor, target) for part in parts)

    def _one(self) -> Check:
        if self._take("not"):
            inner = self._one()
            return lambda actor, target: not inner(actor, target)
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
                return lambda _actor, _target: False
            case "role":
                return lambda actor, _query: value in actor.roles
            case "rule":
                return lambda actor, target: self._rules[value](actor, target) if value in self._rules else False
            case "project_id" | "user_id" if value == f"%{kind}":
                return lambda actor, target: getattr(actor, kind) == target.get(kind)
        raise self._malformed()


def _anybody(_actor: Subject, _target: Mapping[str, str | None]) -> bool:
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
        match = re.fullmatch(r"""(["']?)([A-Za-z0-9_:.-]+)\1\s*:\s+(["']?)(.*?)\3""", text)
        if match is None:
            raise Invalid(f'{file}, line {number}: expected "rule": "check", not {text}')
        found[match[2]] = match[4]
    return found
