"""Pictures are well-formed, small, and show what they were given."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from sim.errors import UserError
from sim.evaluate import Estimates, evaluate
from sim.pictures import Kept, coverage, front, log_axis, write_pictures
from tests.sim.test_evaluate import Compass, system_of


def test_pictures_of_two_systems(tmp_path: Path) -> None:
    model, kept = Compass(), []
    systems = [system_of("compass", model, 10), system_of("compass at 2 bits", model, 2)]

    def seen(system: Any, snapshots: Any, missing: Any, estimates: Estimates) -> None:
        kept.append(Kept(system.name, snapshots, estimates))

    rows = evaluate(systems, ["random"], points=40, seen=seen)
    history = [{"stage": "joint", "samples": 10**k, "served_mean_m": 10.0 / k} for k in range(1, 5)]
    paths = write_pictures(tmp_path / "pictures", rows, kept, {"compass": history})
    assert [path.stem for path in paths] == ["cdf", "payload", "sites", "map", "calibration", "convergence"]
    for path in paths:
        content = path.read_text()
        assert ElementTree.fromstring(content).get("width") == "860"
        assert "prefers-color-scheme: dark" in content
        assert "compass" in content
        assert len(content) < 100_000
    with pytest.raises(UserError, match="cannot be written"):
        write_pictures(paths[0], rows, kept, {})


def test_coverage_of_honest_claims_is_as_claimed() -> None:
    scale = np.array([3.0, 2.0, 0.5])
    error_m = np.random.default_rng(1).standard_normal((100_000, 3)) * scale
    claims = np.tile(np.diag(scale**2), (100_000, 1, 1))
    for found in coverage(Estimates(error_m, claims)):
        assert found == pytest.approx([0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99], abs=0.005)


def test_the_front_leaves_out_what_costs_more_for_no_less_error() -> None:
    rows = [
        {"payload_bits": bits, "mean_m": mean} for bits, mean in ((10, 3.0), (20, 2.0), (20, 1.5), (30, 1.6))
    ]
    assert [(row["payload_bits"], row["mean_m"]) for row in front(rows)] == [(10, 3.0), (20, 1.5)]


def test_logarithmic_ticks() -> None:
    assert [label for _, label in log_axis(0.4, 6.0).ticks] == ["0.5", "1", "2", "5"]
    assert [label for _, label in log_axis(1.0, 10_000.0).ticks] == ["1", "10", "100", "1,000", "10,000"]
