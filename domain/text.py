"""What text the log may hold: such as every consumer of it can digest, for ever.

PostgreSQL keeps no NUL, UTF-8 has no lone surrogate, and a name that becomes a subject or a column of an index has an
end. Every door that lets text in asks here.
"""

import re

MAX_NAME = 255
"""Characters of anything that is looked up by a name or an id."""

MAX_QUOTED = 80
"""Characters of what somebody gave that an error says again."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_INDIGESTIBLE = re.compile("[\x00\ud800-\udfff]")

NOT_PRINTABLE = (
    r"\x00-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u2028-\u202e"
    r"\u2060-\u206f\ud800-\uf8ff\ufdd0-\ufdef\ufeff\ufff0-\ufffb\ufffe\uffff"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000f0000-\U0010ffff"
) + "".join(rf"\U{plane:04x}fffe\U{plane:04x}ffff" for plane in range(1, 15))
"""The inside of a character class: controls, formats that nobody sees or that turn the writing round, separators of
lines, private use, and what is no character. Nova's "printable" is Unicode's categories but C, Zl and Zp; characters
that no version of Unicode has named yet are let through here, since they are not the same in each version."""


def is_digestible(text: str) -> bool:
    """Whether the log and all who read it can hold this text."""
    return _INDIGESTIBLE.search(text) is None


def is_one_line(text: str) -> bool:
    """Whether it is digestible and without control characters."""
    return is_digestible(text) and _CONTROL.search(text) is None


def can_be_a_name(text: str) -> bool:
    """Whether something could be called this at all."""
    return len(text) <= MAX_NAME and is_one_line(text)


def shortened(text: str) -> str:
    """The text as an error quotes it, whatever its length."""
    return text if len(text) <= MAX_QUOTED else f"{text[:MAX_QUOTED]}…"
