import pytest

from broker import Fronthaul, FronthaulLaw
from tests.broker.situations.story import Story

LAW = FronthaulLaw()


def test_unknown_names_are_refused_in_one_line() -> None:
    story = Story(LAW)
    with pytest.raises(ValueError, match="bs9 is attached to no segment"):
        story.offer(0, "bs9/ue1#0")
    with pytest.raises(ValueError, match="no segment 'trunk', there are bs1, bs2, bs3"):
        story.change(0, "trunk", up=False)
    with pytest.raises(ValueError, match="no segment 'trunk'"):
        Fronthaul({"bs1": (LAW, "trunk")}, {}, seed=1)
    with pytest.raises(ValueError, match="no segment 'bs2'"):
        Fronthaul({"bs1": (LAW, None)}, {"bs1": "bs2"}, seed=1)


def test_a_tree_is_not_a_circle() -> None:
    with pytest.raises(ValueError, match="leads in a circle"):
        Fronthaul({"one": (LAW, "other"), "other": (LAW, "one")}, {}, seed=1)
