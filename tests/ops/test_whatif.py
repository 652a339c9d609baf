"""The words of ``lightcurve whatif``, and its picture."""

from xml.etree import ElementTree as ET

import pytest

from domain.errors import Invalid
from domain.placement.scheduling import Multipliers
from ops.utilisation_picture import Bars, draw
from ops.whatif import check_hosts, wanted


def test_what_shall_have_been_otherwise():
    asked = wanted(["ram_weight_multiplier=-1"], ["a"], ["new=8,4096,100"])
    assert asked.multipliers == Multipliers(ram_weight_multiplier=-1.0)
    assert asked.without == ("a",)
    (more,) = asked.more
    assert (more.name, more.vcpus, more.memory_mb, more.disk_gb) == ("new", 8, 4096, 100)


@pytest.mark.parametrize(
    ("settings", "more"),
    [(["x=1"], []), (["ram_weight_multiplier"], []), (["ram_weight_multiplier=much"], []),
     (["ram_weight_multiplier=nan"], []), (["ram_weight_multiplier=-inf"], []), ([], ["new"]),
     ([], ["new=1,2"]), ([], ["=1,2,3"]), ([], ["new=0,1,1"]), ([], ["new=a,b,c"])],
)  # fmt: skip
def test_what_makes_no_sense(settings: list[str], more: list[str]):
    with pytest.raises(Invalid):
        wanted(settings, [], more)


@pytest.mark.parametrize(
    ("without", "more"),
    [(["c"], []), ([], ["a=1,2,3"]), (["a"], ["a=1,2,3"]), ([], ["new=1,2,3", "new=4,5,6"])],
)
def test_hosts_are_those_that_there_were_and_others(without: list[str], more: list[str]):
    with pytest.raises(Invalid):
        check_hosts(wanted([], without, more), {"a", "b"})


def test_a_host_may_go_and_another_come():
    check_hosts(wanted([], ["a"], ["new=1,2,3", "newer=1,2,3"]), {"a", "b"})


def test_the_picture_is_one():
    bars = [Bars("a<b", ((0.5, 0.25), (1.5, 0.0), (None, 1.0)))]
    root = ET.fromstring(draw(bars))
    texts = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert "a<b" in texts
    assert [text for text in texts if text and text.endswith("%")] == ["50%", "25%", "150%", "0%", "100%"]
