"""Which base stations are missing."""

import numpy as np
import pytest

from sim.errors import UserError
from sim.missing import Missing, missing_of

BS_IDS = tuple(f"bs{k}" for k in range(1, 7))


def test_words() -> None:
    assert missing_of("bs3", BS_IDS) == Missing(bs="bs3", count=1)
    assert missing_of("0", BS_IDS) == Missing()
    assert missing_of("3", BS_IDS) == Missing(count=3)
    assert [str(missing_of(word, BS_IDS)) for word in ("bs3", "0", "3")] == ["bs3", "0", "3"]
    for word in ("bs9", "6", "-1", "", "1.5", "\u0663"):
        with pytest.raises(UserError, match="missing; one of bs1, bs2, bs3, bs4, bs5, bs6, or 0 to 5"):
            missing_of(word, BS_IDS)


def test_nobody_a_named_one_and_each_in_turn() -> None:
    assert Missing().present(BS_IDS, 4, 1, "random").all()
    named = Missing(bs="bs3", count=1).present(BS_IDS, 4, 1, "random")
    assert named.shape == (1, 4, 6)
    assert (~named).sum(axis=1).tolist() == [[0, 0, 4, 0, 0, 0]]
    turns = Missing(count=1).present(BS_IDS, 4, 1, "random")
    assert turns.shape == (6, 4, 6)
    np.testing.assert_array_equal(turns[:, 0], ~np.eye(6, dtype=bool))


def test_three_are_drawn_anew_for_each_snapshot_but_the_same_for_the_same_seed() -> None:
    drawn = Missing(count=3).present(BS_IDS, 600, 1, "random")
    assert drawn.shape == (1, 600, 6)
    assert (drawn.sum(axis=2) == 3).all()
    assert len(np.unique(drawn[0], axis=0)) == 20
    assert abs((~drawn).mean(axis=(0, 1)) - 0.5).max() < 0.08
    np.testing.assert_array_equal(drawn, Missing(count=3).present(BS_IDS, 600, 1, "random"))
    assert (drawn != Missing(count=3).present(BS_IDS, 600, 2, "random")).any()
