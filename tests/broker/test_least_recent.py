from broker.least_recent import LeastRecent


def test_the_least_recently_asked_for_is_forgotten() -> None:
    entries: LeastRecent[str, list[int]] = LeastRecent(list, 2)
    entries["a"].append(1)
    entries["b"].append(2)
    assert entries["a"] == [1]
    entries["c"].append(3)
    assert entries["a"] == [1]
    assert entries["b"] == []
    assert len(entries) == 2
