"""Nearest neighbours, the reference for data sets."""

import numpy as np

from models.fingerprinting import NEIGHBOURS, FingerprintSpace, counts_for, tuned


def test_more_neighbours_are_tried_where_there_are_more_samples() -> None:
    assert counts_for(50) == counts_for(3_000) == NEIGHBOURS
    assert counts_for(20_000) == (*NEIGHBOURS, 400, 800, 1_600)


def test_places_with_hundreds_of_packets_are_averaged_over_several() -> None:
    """Two neighbouring places 300 packets each, asked for the middle: 200 samples may be of one alone."""
    draw = np.random.default_rng(1)
    places = np.arange(20.0)

    def packets(at_m: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        position_m = np.repeat(at_m, count)[:, None] * [1.0, 0.0, 0.0]
        gain_db = position_m[:, :1] + draw.normal(0, 0.1, (len(position_m), 1))
        return gain_db, np.zeros((len(gain_db), 1, 1)), np.ones((len(gain_db), 1), bool), position_m

    training, validation = packets(places, 300), packets(places[:-1] + 0.5, 20)
    space = FingerprintSpace.of(*training[:3])
    prints = tuned(space, training[:3], validation[:3], training[3], validation[3])
    assert prints.neighbours > max(NEIGHBOURS)
    found_m = prints.locate(space.points(prints.kind, *validation[:3]))
    assert np.abs(found_m - validation[3])[:, 0].mean() < 0.2
