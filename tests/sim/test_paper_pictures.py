"""Pictures and tables of the paper's section IV, from figures as they are kept."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from models.systems.compared import COMPARED, ESTIMATOR
from sim import paper_parts
from sim.errors import UserError
from sim.paper_parts import PARTS, judged, make, section, variant
from sim.paper_pictures import phase_levels, power_levels
from sim.variants import folders

ROOT = Path(__file__).resolve().parents[2]
QUIET: Any = lambda line: None  # noqa: E731


def row(mean_m: float, subset: str, **about: Any) -> dict[str, Any]:
    figures = {"points": 10, "payload_bits": 96, "samples_trained": 77_824, "e50_m": 1.0, "e90_m": 9.0}
    return about | figures | {"subset": subset, "mean_m": mean_m, "interval_m": [mean_m - 1, mean_m + 1]}


def both(mean_m: float, **about: Any) -> list[dict[str, Any]]:
    return [row(mean_m, "served", **about), row(2 * mean_m, "all", **about)]


def figures(part: str) -> list[dict[str, Any]]:
    if part == "subcarriers":
        return [
            *both(4.0, kind="ours", subcarriers=24, band=""),
            *both(4.5, kind="ours", subcarriers=3, band="whole"),
            *both(6.5, kind="ours", subcarriers=3, band="middle"),
            *both(9.0, kind="theirs", subcarriers=1, band="steps"),
            *both(5.0, kind="theirs", subcarriers=24, band="steps"),
        ]
    if part == "strategies":
        found = []
        for strategy in ("ecc-q10", "ecc-q10-split"):
            for bits, trained in ((10, 10), (4, 4), (4, 10)):
                about = {"strategy": strategy, "bits": bits, "trained_bits": trained, "lossless": False}
                found += both(5.0 + trained / bits, **about)
        lossless = {"strategy": "ecc-lossless", "bits": None, "trained_bits": None, "lossless": True}
        return found + both(5.5, **lossless)
    if part == "seeds":
        return [one for seed in (1, 2) for one in both(4.0 + seed, kind="ours", seed=seed)]
    draws = np.random.default_rng(1).standard_normal((2, 8, 24)).round(3)
    shown = {"original": draws.tolist(), "Q = 10": draws.tolist(), "Q = 4": draws.tolist()}
    near = {"nmse_db": {"Q = 10": -9.5, "Q = 4": -9.0}, "cosine": {"Q = 10": 0.96, "Q = 4": 0.95}}
    columns = ("nmse_median_db", "nmse_mean_db", "nmse_to_clean_median_db", "cosine_median", "cosine_p10")
    rows = [{"reconstruction": "Q = 4", "bits": 3_072} | dict.fromkeys(columns, -9.0)]
    return [{"rows": rows, "noise_median_db": -22.0, "example": near | {"gain_db": 21.0, "csi": shown}}]


@pytest.mark.parametrize("part", [part for part in PARTS if part != "spiral"])
def test_kept_figures_become_a_picture_and_a_table(tmp_path: Path, part: str) -> None:
    (tmp_path / f"{part}.json").write_text(json.dumps(figures(part)))
    assert make(part, tmp_path) == tmp_path / f"{part}.json"
    words = section(part, tmp_path, "results")
    lines = [line for line in words.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1
    assert len(lines) > 2
    if part == "seeds":
        assert "| `ours` | 2 | 5.00, 6.00 | 5.50 | 0.71 | 10.00, 12.00 |" in lines
        return
    assert f"(results/{part}.svg)" in words
    content = (tmp_path / f"{part}.svg").read_text()
    ElementTree.fromstring(content)
    assert "prefers-color-scheme: dark" in content
    assert len(content) < 60_000
    expected = {
        "subcarriers": ["ours, over the band", "ours, its middle", "theirs, steps of its LSTM"],
        "strategies": ["local–joint", "local–joint, trained at 10", "local–split", "lossless CSI"],
        "reconstruction": ["Q = 4: NMSE −9.0 dB, cosine of powers 0.950", "link of 21 dB"],
    }
    for name in expected[part]:
        assert name in content
    assert "joint from scratch" not in content, "there are no figures of it"


def test_the_spiral_is_followed_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paper_parts, "ON_THE_SPIRAL", ("adcpm", "mfcnet-style"))
    make("spiral", tmp_path)
    found = json.loads((tmp_path / "spiral.json").read_text())
    assert [row["system"] for row in found] == ["adcpm", "mfcnet-style"]
    content = (tmp_path / "spiral.svg").read_text()
    ElementTree.fromstring(content)
    assert f"mfcnet-style: fixes {found[1]['fix_mean_m']:.2f} m" in content
    assert "| `mfcnet-style` | 122,880 | 1,011,712 |" in section("spiral", tmp_path, "results")


def test_systems_are_judged_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    trained, _ = folders()
    shutil.copytree(COMPARED / "ecc-q10-split", trained / "ecc-q10-split")
    shutil.copy(COMPARED / ESTIMATOR, trained)
    systems = [(variant("ecc-q10-split", bits), {"bits": bits or 10}) for bits in (None, 4)]
    rows = judged(systems, 12, QUIET)
    found = [(row["bits"], row["subset"], row["payload_bits"]) for row in rows]
    assert found == [(10, "served", 7_680), (10, "all", 7_680), (4, "served", 3_072), (4, "all", 3_072)]
    assert all(row["interval_m"][0] <= row["mean_m"] <= row["interval_m"][1] for row in rows)
    with pytest.raises(UserError, match="ecc-q10 is not trained here: --train does it"):
        make("strategies", tmp_path, again=True)


def test_mistakes_get_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown part 'colours'; one of subcarriers"):
        make("colours", tmp_path)
    with pytest.raises(UserError, match=r"seeds\.json: no figures; --train makes them"):
        make("seeds", tmp_path)


def test_the_command_writes_a_page_below_its_head(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "seeds.json").write_text(json.dumps(figures("seeds")))
    page = tmp_path / "page.md"
    page.write_text("# Kept\n\n<!-- below: written by scripts/paper_pictures -->\n\nold\n")
    command = [sys.executable, str(ROOT / "scripts" / "paper_pictures"), "--page", str(page)]
    done = subprocess.run([*command, "seeds"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    words = page.read_text()
    assert words.startswith("# Kept\n\n<!-- below")
    assert "## Trained again" in words
    assert "old" not in words
    wrong = subprocess.run([*command, "colours"], capture_output=True, text=True, check=False)
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "unknown part 'colours'" in wrong.stderr


def test_levels_of_maps() -> None:
    assert phase_levels(np.exp(1j * np.array([-3.1, 0.01, 3.1])).astype(np.complex64)).tolist() == [0, 12, 23]
    assert power_levels(np.array([1.0, 0.1, 1e-3, 1e-9])).tolist() == [15, 10, 0, 0]
