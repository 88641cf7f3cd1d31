"""While nothing arrives the track goes on and its covariance grows."""

import numpy as np

from tests.sim.kit import run_quietly


def test_track_coasts_through_an_outage() -> None:
    faults = [
        {"at": "1 s", "kind": "link_outage", "link": f"bs{number}", "for": "1 s"} for number in range(1, 7)
    ]
    fixes = run_quietly({"duration": "3 s", "faults": faults}).fixes.to_pylist()
    missed = [row for row in fixes if row["missed"]]
    assert [row["seq"] for row in missed] == list(range(10, 20))
    spread = [row["track_cov_xx"] for row in missed]
    assert (np.diff(spread) > 0).all()
    assert all(row["bs_used"] == "" and row["x_m"] is None and row["track_x_m"] is not None for row in missed)
    ages = [row["age_s"] for row in missed]
    assert np.allclose(np.diff(ages), 0.1)
    assert fixes[20]["track_cov_xx"] < spread[-1]
