"""What a projector could not do lately, for whoever asks how the projections are."""

from datetime import UTC, datetime

from handlers.ports import Beat

FACT = "troubles"
"""The name of the fact in the projector's signs of life: the last trouble of each projection, in a sentence."""
ALL = "all"
"""In the place of a projection's name: it concerns each of them."""


class Troubles:
    """The last one of each projection; ``facts`` go into the signs of life."""

    def __init__(self) -> None:
        self._last: dict[str, str] = {}
        self.facts: dict[str, object] = {FACT: self._last}

    def note(self, projection: str, words: object) -> None:
        """Something has gone wrong just now."""
        self._last[projection] = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {words}"


def troubles_in(beat: Beat) -> dict[str, str]:
    """What a projector tells of itself, by projection."""
    told = beat.facts.get(FACT)
    return {str(name): str(words) for name, words in told.items()} if isinstance(told, dict) else {}
