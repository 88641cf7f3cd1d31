"""Parts: what a process tells the world, and in which order."""

import math
from typing import Any, cast

from broker.control import Controlled
from broker.part import Reports


class Told:
    """In place of the way to the world."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, Any]] = []

    def report(self, kind: str, body: Any = None, number: int = 0) -> None:
        self.messages.append((kind, body))


def test_reports_of_a_kind_are_joined_and_none_overtakes_another() -> None:
    told = Told()
    reports = Reports(cast(Controlled, told))
    reports.add("fates", ["of 0"])
    reports.add("offered", ["1"])
    reports.add("offered", ["2"])
    reports.add("fates", ["of 1"])
    reports.send()
    assert told.messages == [("fates", ["of 0"]), ("offered", ["1", "2"]), ("fates", ["of 1"])]
    assert reports.due_s == math.inf
    reports.send()
    assert len(told.messages) == 3, "each is told once"
