"""The report of a fabricated run: short, an hour long, with many UEs, broken off, empty, hostile."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sim.city import HeightMap
from sim.metrics import age_of_information
from sim.record import Recorder
from sim.report import write_picture, write_report
from sim.report.city import ATTRIBUTION
from sim.report.view import T_S, TRACK_ERROR_M, age_distribution, view_run
from sim.run_folder import RunFolder, RunFolderError

SCENARIO = """\
name: {name}
description: {description}
duration: {duration} s
ues:
{ues}
fronthaul:
  default: {{capacity: 10 Mbit/s, latency: 1 ms}}
  links: {{bs3: {{capacity: 500 kbit/s}}}}
  shared: {{aggregation: {{capacity: 100 Mbit/s, members: [bs1, bs2]}}}}
faults:
  - {{at: {third} s, kind: bs_down, bs: bs3, for: {sixth} s}}
  - {{at: {half} s, kind: link_outage, link: bs2, for: {sixth} s}}
"""
UE = """\
  {ue}:
    trajectory:
      {{kind: spiral, centre: [85 m, 105 m], radius: 6 m, turns: 3, from_height: 0 m, to_height: 30 m,
       duration: {duration} s}}
    rate: 10 Hz"""
Floats = NDArray[np.float64]
BS_IDS = tuple(f"bs{number}" for number in range(1, 7))
PAYLOAD_BITS, WIRE_BITS = 7680, 9000


def fabricate(
    path: Path,
    *,
    num_ues: int = 1,
    duration_s: float = 30.0,
    rate_hz: float = 10.0,
    name: str = "fabricated",
    description: str = "A fabricated run.",
    end: bool = True,
) -> Path:
    """A valid run folder with made-up fixes and frames around spirals."""
    random = np.random.default_rng(7)
    ues = [f"ue{number}" for number in range(1, num_ues + 1)]
    scenario = SCENARIO.format(
        name=json.dumps(name),
        description=json.dumps(description),
        duration=duration_s,
        third=duration_s / 3,
        half=duration_s / 2,
        sixth=duration_s / 6,
        ues="\n".join(UE.format(ue=ue, duration=duration_s) for ue in ues),
    )
    recorder = Recorder(
        RunFolder.create(path),
        scenario_yaml=scenario,
        versions={"packages": {"numpy": np.__version__}, "python": "3.11", "git_commit": None},
        headline={"scenario": name, "seed": 1},
    )
    t_s = np.arange(0, duration_s, 1 / rate_hz)
    with recorder:
        for number, ue in enumerate(ues):
            _fabricate_ue(recorder, ue, number, t_s, duration_s, random)
        if end:
            recorder.close()
            recorder.finish({"complete": True, **_summary(len(t_s) * num_ues)})
    return path


def _fabricate_ue(
    recorder: Recorder, ue: str, number: int, t_s: Floats, duration_s: float, random: np.random.Generator
) -> None:
    turn = 2 * np.pi * 3 * t_s / duration_s
    truth = np.stack(
        [85 + 6 * np.cos(turn) - 5 * number, 105 + 6 * np.sin(turn) + 3 * number, 30 * t_s / duration_s],
        axis=1,
    )
    drift = np.cumsum(random.normal(0, 0.06, truth.shape), axis=0)
    drift -= np.linspace(0, 1, len(t_s))[:, None] * drift[-1]
    track = truth + 0.6 * np.tanh(drift)
    fix = track + random.standard_t(3, truth.shape) * [0.4, 0.4, 0.7]
    missed = random.random(len(t_s)) < 0.02
    latency = 0.012 + 0.002 * random.random(len(t_s)) + 0.038 * (random.random(len(t_s)) < 0.03)
    for seq, at_s in enumerate(t_s.tolist()):
        t_ns = round(at_s * 1e9)
        gone = missed[seq]
        down = {"bs3": 1 / 3 <= at_s / duration_s < 1 / 2, "bs2": 1 / 2 <= at_s / duration_s < 2 / 3}
        used = [bs for bs in BS_IDS if not down.get(bs)]
        nothing = (None,) * 3
        recorder.tables["fixes"].append(
            (
                ue,
                seq,
                t_ns,
                t_ns + round(latency[seq] * 1e9),
                *(nothing if gone else fix[seq]),
                *((None,) * 6 if gone else (0.3, 0.0, 0.0, 0.3, 0.0, 0.8)),
                *track[seq],
                0.0,
                0.0,
                1.0,
                *(0.1, 0.0, 0.0, 0.1, 0.0, 0.2),
                *truth[seq],
                None if gone else float(np.linalg.norm(fix[seq] - truth[seq])),
                float(np.linalg.norm(track[seq] - truth[seq])),
                "" if gone else ",".join(used),
                0 if gone else len(used),
                None if gone else float(latency[seq]),
                None if gone else float(latency[seq]) + 0.002,
                bool(gone),
            )
        )
        for bs in BS_IDS:
            cause = ({"bs3": "bs_down", "bs2": "link_down"}[bs] if down.get(bs) else None) or (
                "loss" if random.random() < 0.005 else None
            )
            arrival = None if cause else t_ns + 5_000_000
            recorder.tables["frames"].append(
                (
                    bs,
                    ue,
                    seq,
                    t_ns,
                    None if cause == "bs_down" else t_ns + 2_000_000,
                    arrival,
                    "dropped" if cause else "delivered",
                    cause,
                    0 if cause == "bs_down" else PAYLOAD_BITS,
                    0 if cause == "bs_down" else WIRE_BITS,
                    12.0,
                    cause is None and not gone,
                )
            )


def _summary(fixes: int) -> dict[str, Any]:
    return {
        "fingerprint": "0123456789abcdef",
        "digest": "fedcba9876543210",
        "fix_error_3d_mean_m": 1.25,
        "fix_error_3d_e90_m": 2.5,
        "track_error_3d_mean_m": 0.75,
        "track_error_3d_e90_m": 1.125,
        "fixes": fixes,
        "fixes_missed": 5,
        "payload_ratio": 0.0625,
        "wire_ratio": 0.0732,
        "latency_p50_s": 0.0131,
        "latency_p99_s": 0.0512,
        "age_p50_s": 0.0651,
        "age_p99_s": 0.1623,
        "frames": {"sent": 6 * fixes, "delivered": 5 * fixes, "in_flight": 0, "dropped": {"loss": fixes}},
    }


VOID = {"meta", "input", "br"}


class Outline(HTMLParser):
    """Checks that elements are closed in order; collects texts of scripts and styles and all addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.styles: list[str] = []
        self.addresses: list[str] = []
        self.policy = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action", "data")]
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"] or ""
        if tag == "script":
            self.scripts.append((given, ""))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action", "data")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)
        if self.open and self.open[-1] == "style":
            self.styles.append(data)


def outline_of(report: Path) -> Outline:
    outline = Outline()
    outline.feed(report.read_text(encoding="utf-8"))
    outline.close()
    assert outline.open == []
    return outline


def words_of(report: Path) -> str:
    """What a reader sees, roughly."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", report.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fabricate(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def report(run: Path) -> Path:
    return write_report(run)


def test_report_lies_in_the_run_folder_and_nothing_else_is_left(run: Path, report: Path) -> None:
    assert report == run / "report.html"
    assert not list(run.glob("*.writing"))


def test_the_scenario_of_the_run_was_read(report: Path) -> None:
    words = words_of(report)
    assert "could not be read" not in words
    assert "bs3: down" in words
    assert "bs2: link down" in words


def test_report_shows_the_figures_of_the_summary(report: Path) -> None:
    words = words_of(report)
    for shown in ("0.75 m", "1.25 m", "6.25 %", "7.32 %", "13.1 ms", "0123456789abcdef", ATTRIBUTION):
        assert shown in words


def test_report_counts_frames_by_cause(report: Path) -> None:
    words = words_of(report)
    assert "bs down" in words
    assert re.search(r"bs3 300 2\d\d 50 0", words)


def test_report_asks_for_nothing_from_outside(report: Path) -> None:
    outline = outline_of(report)
    assert outline.addresses == ["#results"]
    assert "://" not in report.read_text(encoding="utf-8")
    assert "default-src 'none'" in outline.policy


def test_the_policy_lets_in_exactly_the_page_s_own_style_and_script(report: Path) -> None:
    outline = outline_of(report)
    script = [text for attributes, text in outline.scripts if attributes.get("type") is None]
    assert len(script) == len(outline.styles) == 1
    for content in (script[0], outline.styles[0]):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in outline.policy
    assert " style=" not in report.read_text(encoding="utf-8")


def test_every_figure_says_in_words_what_it_shows(report: Path) -> None:
    page = report.read_text(encoding="utf-8")
    labels = re.findall(r'role="img" aria-label="([^"]*)"', page)
    assert len(labels) == page.count('role="img"') > 10
    assert all(len(label) > 20 for label in labels)


def test_names_cannot_break_out(tmp_path: Path) -> None:
    hostile = "</script><script>alert(1)</script><b onload=x>&"
    outline = outline_of(
        write_report(fabricate(tmp_path / "run", duration_s=2, name=hostile, description=hostile))
    )
    assert [attributes.get("type") for attributes, _ in outline.scripts] == ["application/json", None]


@pytest.mark.parametrize(("num_ues", "duration_s"), [(1, 3600.0), (30, 60.0)])
def test_a_long_or_crowded_run_stays_below_3_MB(tmp_path: Path, num_ues: int, duration_s: float) -> None:
    report = write_report(fabricate(tmp_path / "run", num_ues=num_ues, duration_s=duration_s))
    assert report.stat().st_size < 3_000_000
    outline_of(report)


def test_of_many_ues_the_worst_are_shown_and_that_is_said(tmp_path: Path) -> None:
    words = words_of(write_report(fabricate(tmp_path / "run", num_ues=30, duration_s=3)))
    assert "Of 30 UEs the 24 with the largest errors are shown." in words


def test_a_run_that_broke_off_says_so(tmp_path: Path) -> None:
    words = words_of(write_report(fabricate(tmp_path / "run", end=False)))
    assert "The run did not reach its end" in words


def test_a_run_without_any_snapshot(tmp_path: Path) -> None:
    words = words_of(write_report(fabricate(tmp_path / "run", num_ues=0)))
    assert "No snapshot was recorded." in words


def test_without_a_height_map_there_is_no_city(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HeightMap, "load", staticmethod(lambda scene: None))
    page = write_report(Path(shutil.copytree(run, tmp_path / "run"))).read_text(encoding="utf-8")
    assert ATTRIBUTION not in page
    assert 'class="building"' not in page


def test_an_unreadable_scenario_is_told_and_the_rest_is_shown(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    (copy / "scenario.resolved.yaml").write_text("duration: 3 parsecs\n")
    words = words_of(write_report(copy))
    assert "The scenario could not be read" in words
    assert "0.75 m" in words


def test_a_damaged_table_is_one_clear_line_and_leaves_no_report(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("report.html")))
    (copy / "frames.parquet").write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(RunFolderError, match=r"frames\.parquet: damaged") as caught:
        write_report(copy)
    assert "\n" not in str(caught.value)
    assert not list(copy.glob("report*"))


def test_downsampling_keeps_every_peak(tmp_path: Path) -> None:
    folder = RunFolder.open(fabricate(tmp_path / "run", duration_s=600))
    errors = folder.table("fixes")["track_error_3d_m"].to_numpy()
    (ue,) = view_run(folder, 600.0).ues
    assert ue.points.shape[1] == 1500 < len(errors) == ue.snapshots
    per_bin = len(errors) // 1500
    np.testing.assert_allclose(ue.points[TRACK_ERROR_M], errors.reshape(-1, per_bin).max(axis=1))
    assert (np.diff(ue.points[T_S]) > 0).all()


def test_a_short_run_is_shown_whole(run: Path) -> None:
    folder = RunFolder.open(run)
    (ue,) = view_run(folder, 30.0).ues
    np.testing.assert_allclose(ue.points[TRACK_ERROR_M], folder.table("fixes")["track_error_3d_m"].to_numpy())


def test_frames_are_all_accounted_for(run: Path) -> None:
    links = view_run(RunFolder.open(run), 30.0).links
    assert [link.bs for link in links] == list(BS_IDS)
    assert all(link.sent == 300 for link in links)
    assert links[2].dropped_by_cause["bs_down"] == 50
    assert links[0].delivered_bits.sum() == links[0].delivered * WIRE_BITS


def test_age_agrees_with_the_summary_s(run: Path) -> None:
    ages = age_of_information(RunFolder.open(run), 30_000_000_000)
    age_s, share = age_distribution(ages)
    for probability in (0.1, 0.5, 0.9, 0.99):
        expected = ages.quantile(probability)
        assert expected is not None
        assert np.interp(probability, share, age_s) == pytest.approx(expected, rel=0.02)


def test_picture_is_one_svg_in_light_and_dark(run: Path, tmp_path: Path) -> None:
    picture = write_picture(run, tmp_path / "picture.svg").read_text(encoding="utf-8")
    assert picture.startswith("<svg ")
    assert "prefers-color-scheme: dark" in picture
    assert "0.75 m on average" in picture
    assert picture.count("://") == 1  # the name of SVG itself
    with pytest.raises(RunFolderError, match="no snapshot"):
        write_picture(fabricate(tmp_path / "empty", num_ues=0), tmp_path / "none.svg")


@pytest.mark.browser
def test_a_browser_runs_the_script_and_has_no_complaint(report: Path, chromium: str) -> None:
    page, complaints = in_browser(report, chromium)
    assert re.search(r"<output>0\.0 s · height -?\d", page)
    assert not complaints


@pytest.mark.browser
def test_a_browser_shows_an_empty_run_without_complaint(tmp_path: Path, chromium: str) -> None:
    page, complaints = in_browser(write_report(fabricate(tmp_path / "run", num_ues=0)), chromium)
    assert "No snapshot was recorded." in page
    assert not complaints


def in_browser(report: Path, chromium: str) -> tuple[str, list[str]]:
    """The page after its script has run, and what the browser's console says."""
    done = subprocess.run(
        [
            *(chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
            *("--enable-logging=stderr", "--dump-dom", report.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.fixture
def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium on this machine")
    return found
