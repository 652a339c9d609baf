import pytest

from ops.status import _lag


@pytest.mark.parametrize(("events", "words"), [(0, "0"), (7, "7"), (-7, "ahead by 7")])
def test_a_projection_that_is_ahead_of_the_log_does_not_look_as_if_it_were_level(events: int, words: str) -> None:
    assert _lag(events) == words
