"""How long a base station listens for more of an instant."""

from dataclasses import replace

import numpy as np

from nodes.air import Air
from nodes.service_bs import Rush

ONE = Air("run", "bs1", "ue1", 0, 0, 0, 1.0, np.ones((1, 1, 1), np.complex64))


def at(t_ns: int, count: int) -> list[Air]:
    return [replace(ONE, t_sample_ns=t_ns, ue=f"ue{number}") for number in range(count)]


def test_it_goes_on_until_as_many_have_come_as_at_the_instant_before() -> None:
    rush = Rush()
    seen = []
    for heard in (at(0, 1), at(0, 2), at(100, 2), at(100, 1), at(200, 3), at(300, 1), at(400, 1)):
        rush.saw(heard)
        seen.append(rush.goes_on)
    assert seen == [False, False, True, False, False, True, False]


def test_two_instants_in_one_go() -> None:
    rush = Rush()
    rush.saw(at(0, 2) + at(100, 1))
    assert rush.goes_on
    rush.saw(at(100, 1))
    assert not rush.goes_on
