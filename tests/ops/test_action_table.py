from ops.action_table import EVERY_ACTION, FILE, STATES, table


def test_the_page_of_actions_is_current() -> None:
    assert FILE.read_text() == table(), "run: python -m ops.action_table"


def test_the_page_knows_every_state_in_which_an_action_is_allowed() -> None:
    assert set(STATES) == {name for action in EVERY_ACTION for name in action.allowed}
