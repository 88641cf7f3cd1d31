"""Fixes, misses and tracks travel between processes exactly; a tracker goes on from a track it is given."""

import msgpack
import numpy as np

from models.testing import GeometryModel
from nodes import Miss, Tracker
from nodes.model_spec import model_from_spec, spec_of
from nodes.plain import plain_from_result, plain_from_track, result_from_plain, track_from_plain


def there_and_back(plain: object) -> object:
    return msgpack.unpackb(msgpack.packb(plain), strict_map_key=False)


def test_a_track_travels_exactly_and_is_resumed() -> None:
    one = Tracker()
    for step in range(5):
        one.update(["ue1"], [step * 100_000_000], [[step * 0.1, 2.0, 1 / 3]], [np.eye(3) * 0.3])
    last = one.track("ue1")
    assert last is not None
    travelled = track_from_plain(there_and_back(plain_from_track(last)))
    assert travelled is not None
    other = Tracker()
    other.resume([travelled])
    for tracker in (one, other):
        tracker.update(["ue1"], [500_000_000], [[0.5, 2.0, 1 / 3]], [np.eye(3) * 0.3])
    left, right = one.track("ue1"), other.track("ue1")
    assert left is not None
    assert right is not None
    assert left.position_m.tobytes() == right.position_m.tobytes()
    assert left.covariance.tobytes() == right.covariance.tobytes()


def test_a_resumed_track_never_replaces_a_living_one() -> None:
    one, other = Tracker(), Tracker()
    one.update(["ue1"], [0], [[1.0, 2.0, 3.0]], [np.eye(3)])
    other.update(["ue1"], [0], [[9.0, 9.0, 9.0]], [np.eye(3)])
    stranger = other.track("ue1")
    assert stranger is not None
    one.resume([stranger])
    mine = one.track("ue1")
    assert mine is not None
    assert mine.position_m.tolist() == [1.0, 2.0, 3.0]


def test_fixes_and_misses_travel_exactly() -> None:
    track = track_from_plain(["ue1", 1, [1, 2, 3], [0, 0, 0], np.eye(6).ravel().tolist(), 1, False])
    miss = Miss("ue1", 3, 10, 20, "min_bs", ("bs1",), track)
    again = result_from_plain(there_and_back(plain_from_result(miss)))  # type: ignore[arg-type]
    assert isinstance(again, Miss)
    assert (again.ue, again.seq, again.cause, again.bs_heard) == ("ue1", 3, "min_bs", ("bs1",))


def test_a_double_is_the_same_model_elsewhere() -> None:
    model = GeometryModel(("bs1", "bs2"), dims=12)
    spec = there_and_back(spec_of(model, "ecc-r"))
    assert isinstance(spec, dict)
    assert model_from_spec(spec).digest == model.digest
