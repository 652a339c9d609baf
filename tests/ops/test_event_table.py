from ops.event_table import FILE, table


def test_the_table_of_events_is_current() -> None:
    assert FILE.read_text() == table(), "run: python -m ops.event_table"
