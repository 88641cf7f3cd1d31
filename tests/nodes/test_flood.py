"""A flood of bad messages: none is taken, each is counted by cause, and good ones get through."""

import pytest

from tests.nodes.flood import TARGETS, flooded


@pytest.mark.parametrize("name", TARGETS)
def test_a_flood(name: str) -> None:
    due, refused, passed, whole = flooded(name, 12_000)
    assert due.total() == 12_000
    assert refused == due
    assert passed == whole
    assert set(due) >= {"malformed", "version", "length", "oversize", "other_run", "future"}
    assert {"duplicate", "replay"} & set(due)
