"""What is carried must be what comes, in any order."""

from sim.wire import Parts, same_frames


def parts(number: int) -> Parts:
    return b"emb/bs1/ue1/", bytes([number]), b"payload"


def test_any_order_will_do() -> None:
    assert same_frames([list(parts(2)), list(parts(1))], [parts(1), parts(2)])
    assert same_frames([], [])


def test_the_very_same_frame_twice_must_come_twice() -> None:
    assert same_frames([parts(1), parts(1)], [parts(1), parts(1)])
    assert not same_frames([parts(1)], [parts(1), parts(1)])
    assert not same_frames([parts(1), parts(1)], [parts(1), parts(2)])


def test_what_is_missing_changed_or_too_much_is_seen() -> None:
    topic, header, _ = parts(1)
    for received in ([], [parts(2)], [parts(1), parts(2)], [(topic, header, b"changed")], [(topic, header)]):
        assert not same_frames(received, [parts(1)])
