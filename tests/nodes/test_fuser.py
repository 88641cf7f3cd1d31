from dataclasses import replace
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pytest

from models.quantiser import dequantise, unpack
from models.runtime import ROWS_AT_A_TIME
from models.testing import GeometryModel
from nodes.base_station import BaseStation
from nodes.collector import Arrival, Snapshot
from nodes.fuser import MIN_VARIANCE_M2, Fuser
from nodes.tracker import Tracker

BSS = ("bs1", "bs2", "bs3", "bs4")
Float64 = npt.NDArray[np.float64]


class Recorder(GeometryModel):
    """Remembers what it was asked to fuse."""

    def __init__(self) -> None:
        super().__init__(BSS, dims=24)
        self.asked: list[tuple[npt.NDArray[np.float32], Float64, npt.NDArray[np.bool_]]] = []

    def fuse(
        self, latents: npt.NDArray[np.float32], gain_db: Float64, present: npt.NDArray[np.bool_]
    ) -> tuple[Float64, Float64]:
        self.asked.append((latents, gain_db, present))
        return super().fuse(latents, gain_db, present)


class Fixed(GeometryModel):
    """Answers with given covariances."""

    def __init__(self, covariance_m2: npt.ArrayLike) -> None:
        super().__init__(BSS, dims=24)
        self.answer = np.asarray(covariance_m2, dtype=float)

    def fuse(
        self, latents: npt.NDArray[np.float32], gain_db: Float64, present: npt.NDArray[np.bool_]
    ) -> tuple[Float64, Float64]:
        return np.zeros((len(latents), 3)), np.repeat(self.answer[None], len(latents), axis=0)


def snapshot(
    model: GeometryModel, position_m: list[float], bss: tuple[str, ...], ue: str = "ue1", **size: int
) -> Snapshot:
    arrivals = []
    for bs in bss:
        pilots = model.pilots_at(position_m, gain_db=10.0 + model.bs_ids.index(bs))
        frame = BaseStation(bs, model, "run", **size).snapshot(ue, None, 0, pilots, 1.0, 0)  # type: ignore[arg-type]
        assert frame is not None
        arrivals.append(Arrival(frame, 5))
    return Snapshot(ue, 0, 5, 0, tuple(arrivals))


@pytest.mark.parametrize("bss", [bss for num in range(1, 5) for bss in combinations(BSS, num)])
def test_any_subset_is_fused_with_the_others_masked(bss: tuple[str, ...]) -> None:
    model = Recorder()
    fused = Fuser(model).fuse([snapshot(model, [30, -20, 10], bss)])
    latents, gain_db, present = model.asked[0]
    assert latents.dtype == np.float32
    np.testing.assert_array_equal(present, [[bs in bss for bs in BSS]] * ROWS_AT_A_TIME)
    np.testing.assert_array_equal(latents[0][~present[0]], 0)
    np.testing.assert_array_equal(gain_db[0][~present[0]], 0)
    np.testing.assert_allclose(gain_db[0][present[0]], [10 + BSS.index(bs) for bs in bss], atol=1e-4)
    np.testing.assert_allclose(fused.position_m[0], [30, -20, 10], atol=0.2)
    np.testing.assert_allclose(fused.covariance_m2[0], np.eye(3) / len(bss), rtol=1e-12)
    assert fused.finite.tolist() == [True]


def test_latents_are_those_that_were_sent() -> None:
    model = Recorder()
    one = snapshot(model, [1, 2, 3], ("bs1", "bs3"))
    Fuser(model).fuse([one])
    for arrival in one.arrivals:
        frame = arrival.frame
        sent = dequantise(unpack(frame.payload, frame.dims, frame.bits), frame.bits, frame.step)
        np.testing.assert_array_equal(model.asked[0][0][0, BSS.index(frame.bs)], sent)


def test_frames_of_different_sizes_go_together() -> None:
    model = Recorder()
    whole, short = snapshot(model, [9, 8, 7], ("bs1",)), snapshot(model, [9, 8, 7], ("bs2",), bits=6, dims=7)
    mixed = replace(whole, arrivals=whole.arrivals + short.arrivals)
    fused = Fuser(model).fuse([mixed])
    latents = model.asked[0][0]
    assert np.count_nonzero(latents[0, 0]) == 24
    assert np.count_nonzero(latents[0, 1]) == 7
    np.testing.assert_allclose(fused.position_m[0], [9, 8, 7], atol=6)  # 6 bits over 1 km


def test_snapshots_go_in_the_order_given_in_batches_of_whole_multiples() -> None:
    model = Recorder()
    snapshots = [snapshot(model, [10 * at, 0, 0], ("bs1", "bs2")) for at in range(7)]
    fused = Fuser(model, max_batch=6).fuse(snapshots)
    assert [len(latents) for latents, _, _ in model.asked] == [2 * ROWS_AT_A_TIME, ROWS_AT_A_TIME]
    np.testing.assert_allclose(fused.position_m[:, 0], 10.0 * np.arange(7), atol=0.2)


@pytest.mark.parametrize("max_batch", [2, 256])
def test_latents_at_hand_are_fused_as_those_of_frames(max_batch: int) -> None:
    model = Recorder()
    fuser = Fuser(model, max_batch)
    snapshots = [snapshot(model, [10 * at, 5, 1], BSS[at % 3 :]) for at in range(5)]
    by_frames = fuser.fuse(snapshots)
    again = Recorder()
    by_latents = Fuser(again, max_batch).fuse_latents(*fuser._gather(snapshots))
    np.testing.assert_array_equal(by_latents.position_m, by_frames.position_m)
    np.testing.assert_array_equal(by_latents.covariance_m2, by_frames.covariance_m2)
    for mine, theirs in zip(again.asked, model.asked, strict=True):
        for one, other in zip(mine, theirs, strict=True):
            np.testing.assert_array_equal(one, other)


def test_nothing_to_fuse() -> None:
    model = Recorder()
    fused = Fuser(model).fuse([])
    assert fused.position_m.shape == (0, 3)
    assert fused.covariance_m2.shape == (0, 3, 3)
    assert not model.asked


def test_a_good_covariance_is_left_as_it_is() -> None:
    covariance = np.array([[2.0, 0.5, 0.1], [0.5, 1.0, 0.2], [0.1, 0.2, 3.0]])
    model = Fixed(covariance)
    np.testing.assert_array_equal(
        Fuser(model).fuse([snapshot(model, [0, 0, 0], BSS)]).covariance_m2[0], covariance
    )


@pytest.mark.parametrize(
    "covariance",
    [
        np.zeros((3, 3)),
        np.diag([1.0, -0.5, 1.0]),
        [[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        [[1.0, 0.2, 0.0], [0.1, 1.0, 0.0], [0.0, 0.0, 1.0]],
    ],
)
def test_a_covariance_comes_out_symmetric_positive_definite(covariance: npt.ArrayLike) -> None:
    model = Fixed(covariance)
    repaired = Fuser(model).fuse([snapshot(model, [0, 0, 0], BSS)]).covariance_m2[0]
    np.testing.assert_array_equal(repaired, repaired.T)
    assert np.linalg.eigvalsh(repaired)[0] >= MIN_VARIANCE_M2 * (1 - 1e-6)


@pytest.mark.parametrize("greatest_m2", [1e8, 1e11, 1e13, 1e16, 1e20])
def test_a_covariance_that_knows_next_to_nothing_in_one_direction_can_be_tracked(greatest_m2: float) -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        axes = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        model = Fixed(axes @ np.diag([greatest_m2, 1.0, MIN_VARIANCE_M2]) @ axes.T)
        fused = Fuser(model).fuse([snapshot(model, [0, 0, 0], BSS)])
        Tracker().update(["ue1"], [0], fused.position_m, fused.covariance_m2)  # refuses what is not definite


@pytest.mark.parametrize(
    ("claimed", "believed"),
    [
        (np.diag([2.0, -0.5, 3.0]), np.diag([2.0, MIN_VARIANCE_M2, 3.0])),
        (np.zeros((3, 3)), MIN_VARIANCE_M2 * np.eye(3)),
        # Eigenvalues 2 along (1, 1, 0) and 0 along (1, -1, 0).
        ([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 5.0]], np.diag([1.0, 1.0, 5.0])),
        ([[1.0, 0.25, 0.0], [0.75, 1.0, 0.0], [0.0, 0.0, 1.0]], np.eye(3)),
    ],
)
def test_only_what_is_below_the_floor_is_raised(claimed: npt.ArrayLike, believed: Float64) -> None:
    expected = believed.copy()
    expected[0, 1] = expected[1, 0] = np.asarray(claimed)[:2, :2][[0, 1], [1, 0]].mean()
    model = Fixed(claimed)
    repaired = Fuser(model).fuse([snapshot(model, [0, 0, 0], BSS)]).covariance_m2[0]
    np.testing.assert_allclose(repaired, expected, atol=0.6 * MIN_VARIANCE_M2)


def test_a_snapshot_without_a_number_leaves_the_others_as_they_are() -> None:
    class Partly(GeometryModel):
        def fuse(
            self, latents: npt.NDArray[np.float32], gain_db: Float64, present: npt.NDArray[np.bool_]
        ) -> tuple[Float64, Float64]:
            position_m, covariance_m2 = super().fuse(latents, gain_db, present)
            covariance_m2[position_m[:, 0] > 15, 1, 1] = np.inf
            return position_m, covariance_m2

    model = Partly(BSS, dims=24)
    fused = Fuser(model).fuse([snapshot(model, [10 * at, 0, 0], BSS) for at in range(4)])
    assert fused.finite.tolist() == [True, True, False, False]
    np.testing.assert_allclose(fused.position_m[:2, 0], [0, 10], atol=0.2)
    np.testing.assert_allclose(fused.covariance_m2[:2], np.array([np.eye(3) / 4] * 2), rtol=1e-12)
    assert np.isfinite(fused.covariance_m2).all()
    assert (fused[1:3].finite.tolist(), len(fused[1:3].position_m)) == ([True, False], 2)


def test_a_model_that_gives_no_number_is_told() -> None:
    model = Fixed(np.diag([1.0, np.nan, 1.0]))
    assert Fuser(model).fuse([snapshot(model, [0, 0, 0], BSS)]).finite.tolist() == [False]
