"""Who comes to a host waits for its turn."""

from adapters.libvirt.line import PATIENCE, Line


def test_in_the_order_in_which_they_asked() -> None:
    line = Line(1)
    assert line.admits("a", (), 0)
    assert [line.admits(who, {"a"}, 1) for who in ("b", "c", "a")] == [False, False, True]
    assert not line.admits("c", (), 2)
    assert line.admits("b", (), 3)
    assert not line.admits("c", {"b"}, 4)
    assert line.admits("c", (), 5)


def test_as_many_as_there_is_room_for() -> None:
    line = Line(3)
    assert [line.admits(who, {"x"}, 0) for who in ("a", "b")] == [True, True]
    assert not line.admits("c", {"x", "a", "b"}, 0)
    assert not line.admits("c", {"x", "a", "b", "more"}, 0)


def test_who_leaves_or_asks_no_more_keeps_nobody_waiting() -> None:
    line = Line(1)
    for who in ("b", "c", "d"):
        assert not line.admits(who, {"a"}, 0)
    line.leave("b")
    assert line.admits("d", (), PATIENCE)
