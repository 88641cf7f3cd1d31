from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from broker.frame import Frame, decode_frame, encode_frame
from models.runtime import ROWS_AT_A_TIME
from models.testing import GeometryModel
from nodes import BaseStation, CentralUnit, CuPolicy, Fix, Gap, Miss, Outcome, TrackerParams

MS = 1_000_000
BSS = ("bs1", "bs2", "bs3")
Float64 = npt.NDArray[np.float64]


class Site:
    """Base stations and a CU around one model, with nothing between them."""

    def __init__(
        self, policy: CuPolicy | None = None, model: GeometryModel | None = None, **cu: object
    ) -> None:
        self.model = model or GeometryModel(BSS, dims=24)
        self.stations = {bs: BaseStation(bs, self.model, "run") for bs in self.model.bs_ids}
        self.cu = CentralUnit(self.model, policy, **cu)  # type: ignore[arg-type]

    def frame(self, bs: str, t_ms: int, position_m: list[float], ue: str = "ue1") -> Frame:
        pilots = self.model.pilots_at(position_m)
        frame = self.stations[bs].snapshot(ue, None, t_ms * MS, pilots, 1.0, t_ms * MS)
        assert frame is not None
        return decode_frame(encode_frame(frame), known_models={self.model.digest})

    def hear(
        self,
        t_ms: int,
        position_m: list[float],
        bss: tuple[str, ...] = BSS,
        ue: str = "ue1",
        after_ms: int = 10,
    ) -> None:
        for bs in bss:
            self.cu.receive(self.frame(bs, t_ms, position_m, ue), (t_ms + after_ms) * MS)


def only_fix(results: list[Fix | Miss]) -> Fix:
    (result,) = results
    assert isinstance(result, Fix)
    return result


def only_miss(results: list[Fix | Miss]) -> Miss:
    (result,) = results
    assert isinstance(result, Miss)
    return result


def test_a_complete_snapshot_becomes_a_fix_and_starts_a_track() -> None:
    site = Site(CuPolicy(processing_ns=3 * MS))
    site.hear(100, [10, 20, 5])
    fix = only_fix(site.cu.advance(110 * MS))
    assert (fix.ue, fix.seq, fix.t_sample_ns, fix.t_fix_ns) == ("ue1", 0, 100 * MS, 113 * MS)
    assert (fix.bs_used, fix.revision, fix.outcome) == (BSS, 0, Outcome.STARTED)
    assert fix.ages_ns == dict.fromkeys(BSS, 13 * MS)
    np.testing.assert_allclose(fix.position_m, [10, 20, 5], atol=0.2)
    np.testing.assert_allclose(fix.covariance_m2, np.eye(3) / 3)
    assert fix.track is not None
    np.testing.assert_array_equal(fix.track.position_m, fix.position_m)
    assert site.cu.ues == ("ue1",)


def test_a_missing_bs_is_done_without_and_its_age_grows() -> None:
    site = Site()
    site.hear(0, [10, 20, 5])
    site.cu.advance(10 * MS)
    site.hear(100, [10, 20, 5], ("bs1", "bs3"))
    assert site.cu.advance(149 * MS) == []
    assert site.cu.next_deadline_ns() == 150 * MS
    fix = only_fix(site.cu.advance(150 * MS))
    assert fix.bs_used == ("bs1", "bs3")
    assert fix.ages_ns == {"bs1": 50 * MS, "bs2": 150 * MS, "bs3": 50 * MS}
    np.testing.assert_allclose(fix.position_m, [10, 20, 5], atol=0.2)


def test_too_few_bss_make_a_miss_through_which_the_track_coasts() -> None:
    site = Site(CuPolicy(min_bs=2))
    for t_ms in range(0, 2000, 100):
        site.hear(t_ms, [10 + t_ms / 1000, 20, 5])
        site.cu.advance((t_ms + 10) * MS)
    site.hear(2400, [0, 0, 0], ("bs2",))
    miss = only_miss(site.cu.advance(2450 * MS))
    assert (miss.ue, miss.t_sample_ns, miss.t_fix_ns) == ("ue1", 2400 * MS, 2450 * MS)
    assert (miss.cause, miss.bs_heard, miss.seq) == ("min_bs", ("bs2",), 20)
    assert miss.track is not None
    assert miss.track.coasting
    np.testing.assert_allclose(miss.track.position_m, [12.4, 20, 5], atol=0.2)


def test_a_miss_before_any_fix_has_no_track() -> None:
    site = Site(CuPolicy(min_bs=2))
    site.hear(0, [0, 0, 0], ("bs2",))
    assert only_miss(site.cu.advance(50 * MS)).track is None


def test_a_miss_is_known_when_it_has_been_processed_as_a_fix_is() -> None:
    site = Site(CuPolicy(min_bs=2, processing_ns=3 * MS))
    site.hear(0, [0, 0, 0], ("bs2",))
    assert only_miss(site.cu.advance(50 * MS)).t_fix_ns == 53 * MS


def test_late_frames_retrodict_fix_and_track() -> None:
    """One frame comes half a second late; in the end the CU knows what it would know had it been in time."""
    in_time, late = Site(), Site(CuPolicy(late="retrodict"))
    for step in range(5):
        for bs in BSS:
            position_m = [0.1 * step, 5.0, 1.0]
            in_time.cu.receive(in_time.frame(bs, 100 * step, position_m), (100 * step + 10) * MS)
            frame = late.frame(bs, 100 * step, position_m)
            if (bs, step) == ("bs3", 2):
                held_up = frame
            else:
                late.cu.receive(frame, (100 * step + 10) * MS)
        in_time.cu.advance((100 * step + 50) * MS)
        late.cu.advance((100 * step + 50) * MS)
    expected, incomplete = in_time.cu.track("ue1"), late.cu.track("ue1")
    assert late.cu.receive(held_up, 460 * MS).kind == "revises"
    fix = only_fix(late.cu.advance(460 * MS))
    assert (fix.revision, fix.bs_used, fix.t_fix_ns) == (1, BSS, 460 * MS)
    complete = late.cu.track("ue1")
    assert expected is not None
    assert incomplete is not None
    assert complete is not None
    assert not np.array_equal(expected.covariance, incomplete.covariance)
    np.testing.assert_array_equal(expected.position_m, complete.position_m)
    np.testing.assert_array_equal(expected.covariance, complete.covariance)
    assert (late.cu.counts.fixes, late.cu.counts.revisions) == (5, 1)


def test_late_frames_make_a_fix_of_a_miss() -> None:
    site = Site(CuPolicy(min_bs=2, late="retrodict"))
    site.cu.receive(site.frame("bs1", 0, [1, 2, 3]), 10 * MS)
    assert only_miss(site.cu.advance(50 * MS)).cause == "min_bs"
    site.cu.receive(site.frame("bs2", 0, [1, 2, 3]), 80 * MS)
    fix = only_fix(site.cu.advance(80 * MS))
    assert (fix.revision, fix.bs_used, fix.outcome) == (1, ("bs1", "bs2"), Outcome.STARTED)


def test_what_has_closed_is_fused_together_and_the_same_however_seldom_the_driver_advances() -> None:
    class Recorder(GeometryModel):
        def __init__(self) -> None:
            super().__init__(BSS, dims=24)
            self.sizes: list[int] = []

        def fuse(
            self, latents: npt.NDArray[np.float32], gain_db: Float64, present: npt.NDArray[np.bool_]
        ) -> tuple[Float64, Float64]:
            self.sizes.append(len(latents))
            return super().fuse(latents, gain_db, present)

    results = []
    for every_ms in (1, 1000):
        model = Recorder()
        site = Site(model=model)
        made: list[Fix | Miss] = []
        for t_ms in range(400):
            if t_ms % 100 == 0:
                frames = [site.frame(bs, t_ms, [1, 2, 3], ue) for ue in ("ue1", "ue2", "ue3") for bs in BSS]
            if t_ms % 100 == 10:  # all of ue3, part of the others
                for frame in frames:
                    if frame.ue == "ue3" or frame.bs != "bs2":
                        site.cu.receive(frame, t_ms * MS)
            if t_ms % every_ms == 0:
                made += site.cu.advance(t_ms * MS)
        made += site.cu.advance(1000 * MS)
        # One call for ue3, one for the others together, each filled up; or all that has closed in one.
        assert model.sizes == ([ROWS_AT_A_TIME, ROWS_AT_A_TIME] * 4 if every_ms == 1 else [12])
        results.append([(made_.t_fix_ns, made_.ue, made_.t_sample_ns) for made_ in made])
    assert results[0] == results[1]
    assert results[0][:3] == [(10 * MS, "ue3", 0), (50 * MS, "ue1", 0), (50 * MS, "ue2", 0)]


def test_a_model_that_gives_no_number_makes_a_miss_and_leaves_the_track() -> None:
    class Broken(GeometryModel):
        def fuse(
            self, latents: npt.NDArray[np.float32], gain_db: Float64, present: npt.NDArray[np.bool_]
        ) -> tuple[Float64, Float64]:
            position_m, covariance_m2 = super().fuse(latents, gain_db, present)
            return np.where(position_m > 90, np.nan, position_m), covariance_m2

    site = Site(model=Broken(BSS, dims=24))
    site.hear(0, [10, 10, 10])
    assert isinstance(site.cu.advance(10 * MS)[0], Fix)
    site.hear(100, [99, 10, 10])
    miss = only_miss(site.cu.advance(110 * MS))
    assert miss.cause == "not_finite"
    assert miss.bs_heard == BSS
    assert miss.track is not None


def test_what_does_not_belong_here_is_refused_and_counted() -> None:
    gaps: list[Gap] = []
    site = Site(run="run", on_gap=gaps.append)
    good = site.frame("bs1", 0, [0, 0, 0])
    other_model = GeometryModel(BSS, dims=24, name="other")
    wider = GeometryModel(BSS, dims=48)
    pilots = site.model.pilots_at([0, 0, 0])

    def made_by(model: GeometryModel, run: str, *, dims: int | None = None, bits: int | None = None) -> Frame:
        frame = BaseStation("bs1", model, run, dims=dims, bits=bits).snapshot("ue1", 4, 0, pilots, 1.0, 0)
        assert frame is not None
        return frame

    filled = made_by(site.model, "run", dims=3, bits=5)
    strangers = [
        made_by(site.model, "elsewhere"),
        made_by(other_model, "run"),
        replace(made_by(wider, "run"), model=site.model.digest),
        replace(filled, payload=filled.payload[:-1] + bytes([filled.payload[-1] | 1])),
        replace(good, bs="bs9"),
        replace(good, t_sample_ns=5000 * MS, t_publish_ns=5000 * MS),
    ]
    for stranger in strangers:
        assert site.cu.receive(stranger, 10 * MS).kind == "refused"
    assert site.cu.receive(good, 10 * MS).kind == "accepted"
    assert site.cu.receive(good, 10 * MS).cause == "duplicate"
    assert site.cu.receive(site.frame("bs2", 0, [0, 0, 0]), 51 * MS).kind == "late"
    counts = site.cu.counts
    assert dict(counts.refused) == {
        "duplicate": 1,
        "future": 1,
        "malformed": 2,
        "other_run": 1,
        "unknown_bs": 1,
        "unknown_model": 1,
    }
    assert (counts.received, counts.taken, counts.late) == (9, 1, 1)
    assert counts.received == counts.taken + counts.late + sum(counts.refused.values())
    assert gaps == []


def test_a_gap_is_handed_to_the_driver() -> None:
    gaps: list[Gap] = []
    site = Site(on_gap=gaps.append)
    frames = [site.frame("bs1", 10 * step, [0, 0, 0]) for step in range(4)]
    for frame in (frames[0], frames[3]):
        site.cu.receive(frame, frame.t_sample_ns + MS)
    assert gaps == [Gap("bs1", "ue1", 1, 2, 31 * MS)]


def test_fewer_expected_bss_complete_a_snapshot() -> None:
    site = Site(expected=["bs3", "bs1"])
    site.hear(0, [4, 5, 6], ("bs1", "bs3"))
    fix = only_fix(site.cu.advance(10 * MS))
    assert fix.bs_used == ("bs1", "bs3")
    with pytest.raises(ValueError, match="bs7 is not a BS of the model: bs1, bs2, bs3"):
        Site(expected=["bs7"])


def test_ages_are_of_the_newest_sample_of_each_bs_and_an_older_one_that_is_late_changes_nothing() -> None:
    site = Site(CuPolicy(late="retrodict", processing_ns=MS))
    held_up = site.frame("bs2", 0, [1, 2, 3])
    for bs in ("bs1", "bs3"):
        site.cu.receive(site.frame(bs, 0, [1, 2, 3]), 10 * MS)
    assert only_fix(site.cu.advance(50 * MS)).ages_ns == {"bs1": 51 * MS, "bs3": 51 * MS}
    site.hear(100, [1, 2, 3])
    assert only_fix(site.cu.advance(110 * MS)).ages_ns == dict.fromkeys(BSS, 11 * MS)
    site.cu.receive(held_up, 120 * MS)
    late = only_fix(site.cu.advance(120 * MS))
    assert (late.t_sample_ns, late.revision, late.bs_used) == (0, 1, BSS)
    assert late.ages_ns == dict.fromkeys(BSS, 21 * MS)


def test_a_revision_without_a_fix_is_no_second_miss() -> None:
    site = Site(CuPolicy(min_bs=3, late="retrodict"))
    site.hear(0, [1, 2, 3], ("bs1",))
    assert only_miss(site.cu.advance(50 * MS)).bs_heard == ("bs1",)
    site.hear(0, [1, 2, 3], ("bs2",), after_ms=80)
    assert site.cu.advance(80 * MS) == []
    assert (site.cu.counts.misses, site.cu.counts.revisions, site.cu.counts.fixes) == (1, 0, 0)


def test_others_are_open_until_all_of_a_sample_time_have_closed() -> None:
    site = Site()
    site.hear(0, [1, 2, 3], ue="ue1")
    site.hear(0, [1, 2, 3], ("bs1",), ue="ue2")
    assert site.cu.others_open(0)
    assert not site.cu.others_open(100 * MS)
    site.cu.advance(50 * MS)
    assert not site.cu.others_open(0)


def test_two_cus_given_the_same_frames_agree_to_the_bit() -> None:
    tracks = []
    for _ in range(2):
        site = Site(CuPolicy(min_bs=2), tracker=TrackerParams(acceleration_mps2=2.0))
        for step in range(30):
            for ue in ("ue1", "ue2"):
                site.hear(100 * step, [0.1 * step, 5, 1], BSS[step % 2 :], ue)
            site.cu.advance((100 * step + 99) * MS)
        track = site.cu.track("ue2", 3000 * MS)
        assert track is not None
        tracks.append(track)
    np.testing.assert_array_equal(tracks[0].position_m, tracks[1].position_m)
    np.testing.assert_array_equal(tracks[0].covariance, tracks[1].covariance)
