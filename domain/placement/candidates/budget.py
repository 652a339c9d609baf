"""How much one search may try: a small request can have more combinations than anybody can wait for."""

MAX_STEPS = 300_000
"""Options and combinations that one search looks at, at the most; some tenths of a second."""
CANDIDATE_STEPS = 20
"""What a candidate costs that is put into words."""


class Exhausted(Exception):
    """The search has tried as much as it may."""


class Budget:
    """The steps that a search has left."""

    def __init__(self, steps: int = MAX_STEPS) -> None:
        self._left = steps

    def spend(self, steps: int = 1) -> None:
        """So many more steps. Raises Exhausted."""
        self._left -= steps
        if self._left < 0:
            raise Exhausted
