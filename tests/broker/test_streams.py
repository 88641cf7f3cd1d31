import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker import Draws, stream
from broker.streams import Streams

NAMES = st.text(max_size=12)


def first(*of: object) -> float:
    return float(stream(*of).random())  # type: ignore[arg-type]


@given(st.integers(), NAMES, NAMES, st.integers(0, 2**64 - 1))
def test_same_arguments_draw_the_same(seed: int, purpose: str, entity: str, sequence: int) -> None:
    again = stream(seed, purpose, entity, sequence)
    np.testing.assert_array_equal(stream(seed, purpose, entity, sequence).random(5), again.random(5))


def test_any_other_argument_draws_something_else() -> None:
    draws = {
        first(*of)
        for of in [
            (1, "noise", "bs1", 0),
            (2, "noise", "bs1", 0),
            (1, "loss", "bs1", 0),
            (1, "noise", "bs2", 0),
            (1, "noise", "bs1", 1),
            (1, "noise", "bs1", 2**64 - 1),
            (1, "noisebs1", "", 0),
            (1, "", "noisebs1", 0),
        ]
    }
    assert len(draws) == 8


def test_drawing_much_from_one_leaves_the_next_alone() -> None:
    expected = first(1, "noise", "bs1", 1)
    stream(1, "noise", "bs1", 0).random(100_000)
    assert first(1, "noise", "bs1", 1) == expected


def test_stored_values_hold_on_every_machine() -> None:
    assert stream(1, "noise", "bs1", 3).integers(0, 1 << 32, 3).tolist() == [
        3825274376,
        471821431,
        2268840616,
    ]
    assert Draws(1, "loss", "bs1").at("bs1/ue1/0") == (0.1401319462735865, 0.6292627896164779)


@pytest.mark.parametrize("sequence", [-1, 2**64])
def test_sequence_out_of_range_is_refused(sequence: int) -> None:
    with pytest.raises(ValueError, match="sequence"):
        stream(1, "noise", "bs1", sequence)


def test_draws_are_a_pure_function_of_the_event() -> None:
    draws = Draws(1, "loss", "bs1")
    expected = draws.at("ue1/5")
    for k in range(100):
        draws.at(f"ue1/{k}")
    assert draws.at("ue1/5") == expected
    assert Draws(1, "loss", "bs1").at("ue1/5") == expected
    assert Draws(1, "loss", "bs2").at("ue1/5") != expected
    assert Draws(1, "jitter", "bs1").at("ue1/5") != expected


def test_draws_are_uniform_and_independent() -> None:
    draws = Draws(7, "jitter", "bs1")
    pairs = np.array([draws.at(f"bs1/ue1/{k}") for k in range(20_000)])
    assert pairs.min() > 0.0
    assert pairs.max() < 1.0
    four_sigma = 4 / np.sqrt(12 * len(pairs))
    np.testing.assert_allclose(pairs.mean(axis=0), 0.5, atol=four_sigma)
    np.testing.assert_allclose(pairs.var(axis=0), 1 / 12, atol=four_sigma)
    assert abs(np.corrcoef(pairs.T)[0, 1]) < 4 / np.sqrt(len(pairs))
    assert abs(np.corrcoef(pairs[:-1, 0], pairs[1:, 0])[0, 1]) < 4 / np.sqrt(len(pairs))


def test_one_generator_becomes_every_stream() -> None:
    streams = Streams(7)
    for purpose, entity, sequence in [
        ("noise", "bs1", 3),
        ("clock", "bs1", 3),
        ("noise", "bs2", 0),
        ("noise", "bs1", 3),
    ]:
        here, alone = streams.at(purpose, entity, sequence), stream(7, purpose, entity, sequence)
        assert (
            here.standard_normal(5, dtype=np.float32).tolist()
            == alone.standard_normal(5, dtype=np.float32).tolist()
        )
        assert here.uniform() == alone.uniform()
        assert (
            here.integers(10, size=3, dtype=np.uint32).tolist()
            == alone.integers(10, size=3, dtype=np.uint32).tolist()
        )


def test_streams_work_where_arrays_arrive_read_only() -> None:
    """As on a Ray cluster, where they lie in memory that several processes share."""
    streams, buffers = Streams(7), list[pickle.PickleBuffer]()
    drawn = streams.at("noise", "bs1", 3).standard_normal(4)
    sent = pickle.dumps(streams, protocol=5, buffer_callback=buffers.append)
    there = pickle.loads(sent, buffers=[bytes(buffer.raw()) for buffer in buffers])
    assert np.array_equal(there.at("noise", "bs1", 3).standard_normal(4), drawn)
