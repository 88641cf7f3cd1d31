"""A model with a map behind its networks: the shipped one."""

import json
import pickle
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from models.map_fix import MapFix
from models.mapped_model import BASES, MAP, MappedModel, doubted
from models.quantiser import dequantise, quantise, rescale_step
from models.runtime import WEIGHTS, ModelError, OnnxModel, load_model
from sim.api import channel_of
from sim.channel.held_out import shipped_pool
from sim.scenario import Scenario
from tests.sim.kit import ROOT

Array = NDArray[Any]

SHIPPED = WEIGHTS / "ecc-r-map"


@cache
def model() -> OnnxModel:
    return load_model("ecc-r-map")


@cache
def heard() -> tuple[Array, Array, Array]:
    """What arrives of six snapshots of the street, with the truth: numbers, gains and positions."""
    scenario = Scenario.load(ROOT / "scenarios" / "street.yaml", duration="6 s")
    channel = channel_of(scenario)
    pilots = np.stack([channel.pilots("ue1", 5 * index) for index in range(6)])
    parts = [
        model().encode_many(bs, pilots[:, at], float(channel.noise_variance[at]))
        for at, bs in enumerate(model().bs_ids)
    ]
    latents, gain_db = (np.stack(column, axis=1) for column in zip(*parts, strict=True))
    truth_m = np.stack([scenario_position(scenario, 5 * index) for index in range(6)])
    return latents, gain_db, truth_m


def scenario_position(scenario: Scenario, index: int) -> Array:
    from sim.channel.traces import scenario_positions

    position_m: Array = scenario_positions(scenario)["ue1"][index]
    return position_m


def sent(latents: Array, bits: int) -> Array:
    steps = np.array([rescale_step(float(step), model().bits, bits) for step in model().steps])[:, None]
    arrived: Array = dequantise(quantise(latents, bits, steps), bits, steps)
    return arrived


EVERYONE = np.ones((6, 6), dtype=bool)


def test_a_message_is_a_direction_a_part_of_the_latent_and_the_csi() -> None:
    networks = load_model("ecc-r")
    assert isinstance(model(), MappedModel)
    assert model().dims == 8 + 96 + 280
    assert model().bits == 8
    scenario = Scenario.load(ROOT / "scenarios" / "street.yaml", duration="100 ms")
    channel = channel_of(scenario)
    pilots, noise = channel.pilots("ue1", 0)[2], float(channel.noise_variance[2])
    own, theirs = model().encode("bs3", pilots, noise), networks.encode("bs3", pilots, noise)
    assert (own.latent[:104] == theirs.latent[:104]).all()
    assert own.gain_db == theirs.gain_db
    assert model().digest != networks.digest


def test_a_message_without_its_tail_is_one_of_the_networks() -> None:
    latents, gain_db, _ = heard()
    short = sent(latents, 10)
    short[..., 200:] = 0
    of_networks = np.zeros((6, 6, 776), np.float32)
    of_networks[..., :104] = short[..., :104]
    one = model().fuse(short, gain_db, EVERYONE)
    other = load_model("ecc-r").fuse(of_networks, gain_db, EVERYONE)
    assert (one[0] == other[0]).all()
    assert (one[1] == other[1]).all()


@pytest.mark.parametrize("bits", [10, 8])
def test_the_map_makes_fixes_in_the_street_sharper(bits: int) -> None:
    latents, gain_db, truth_m = heard()
    arrived = sent(latents, bits)
    before = arrived.copy()
    before[..., 104:] = 0
    errors = [
        np.linalg.norm(model().fuse(numbers, gain_db, EVERYONE)[0] - truth_m, axis=1)
        for numbers in (before, arrived)
    ]
    assert errors[1].mean() < 0.8 * errors[0].mean()


def test_numbers_of_less_than_eight_bits_hold_no_csi() -> None:
    latents, gain_db, _ = heard()
    arrived = sent(latents, 6)
    before = arrived.copy()
    before[..., 104:] = 0
    one, other = (model().fuse(numbers, gain_db, EVERYONE) for numbers in (arrived, before))
    assert (one[0] == other[0]).all()
    assert (one[1] == other[1]).all()


def test_a_fix_does_not_depend_on_what_is_fused_beside_it() -> None:
    """In whole multiples of four, as networks ask for."""
    latents, gain_db, _ = heard()
    arrived, present = sent(latents, 8), EVERYONE.copy()
    present[2, :3] = False
    rows = np.resize(np.arange(6), 8)
    together = model().fuse(arrived[rows], gain_db[rows], present[rows])
    for row in range(6):
        four = np.full(4, row)
        alone = model().fuse(arrived[four], gain_db[four], present[four])
        assert (alone[0][0] == together[0][row]).all()
        assert (alone[1][0] == together[1][row]).all()
        assert np.linalg.eigvalsh(alone[1][0]).min() > 0


def test_what_an_absent_base_station_holds_does_not_matter() -> None:
    latents, gain_db, _ = heard()
    present = EVERYONE.copy()
    present[:, 1] = False
    other, gains = sent(latents, 10), gain_db.copy()
    one = model().fuse(other, gains, present)
    other[:, 1], gains[:, 1] = 7.0, np.nan
    again = model().fuse(other, gains, present)
    assert (one[0] == again[0]).all()
    assert (one[1] == again[1]).all()


def test_nothing_heard_gives_a_fix_that_says_so() -> None:
    latents, gain_db, _ = heard()
    position, covariance = model().fuse(latents, gain_db, np.zeros((6, 6), dtype=bool))
    assert np.isfinite(position).all()
    assert np.sqrt(np.trace(covariance[0])) > 10
    empty = model().fuse(latents[:0], gain_db[:0], EVERYONE[:0])
    assert (empty[0].shape, empty[1].shape) == ((0, 3), (0, 3, 3))


def test_it_travels_as_its_folder() -> None:
    again = pickle.loads(pickle.dumps(model()))
    assert isinstance(again, MappedModel)
    assert again.digest == model().digest
    assert again.dims == model().dims


def test_doubt_is_that_of_a_mixture() -> None:
    draws = np.random.default_rng(1)
    moved, doubt = np.array([[3.0, -1.0, 0.5]]), 0.2
    first, fix = np.diag([4.0, 1.0, 2.0]), np.diag([0.1, 0.2, 0.1])
    density = np.exp(-(moved[0] ** 2 / np.diag(first)).sum() / 2)  # of the first fix, 1 where it is
    odds = doubt / np.sqrt(density)
    count = 400_000
    wrong = draws.random(count) < odds / (1 + odds)
    right = draws.standard_normal((count, 3)) * np.sqrt(np.diag(fix))
    errors = np.where(
        wrong[:, None], -moved + draws.standard_normal((count, 3)) * np.sqrt(np.diag(first)), right
    )
    squares = errors.T @ errors / count
    claimed = doubted(moved, first[None], fix[None], np.array([doubt]))[0]
    # Shares of a mixture add up to one; those of `doubted` to a little more.
    assert claimed / (1 + odds) == pytest.approx(squares, abs=0.02)
    kept = doubted(np.zeros((1, 3)), first[None], fix[None], np.array([doubt]))[0]
    assert (kept == fix).all()


@pytest.mark.parametrize("doubt", [0.001, 1.7])
def test_who_was_moved_far_is_not_believed(doubt: float) -> None:
    first, fix = np.diag([0.04, 0.04, 0.04]), np.diag([0.01, 0.01, 0.01])
    moved = np.array([[30.0, 0.0, 0.0], [1e4, 0.0, 0.0]])
    claimed = doubted(moved, np.array([first, first]), np.array([fix, fix]), np.array([doubt, doubt]))
    share = max(doubt, 1.0)
    for one, by_m in zip(claimed, moved[:, 0], strict=True):
        assert np.diag(one) == pytest.approx(0.01 + share * np.array([0.04 + by_m**2, 0.04, 0.04]))


def test_damage_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "ecc-r").symlink_to(WEIGHTS / "ecc-r")
    folder = shutil.copytree(SHIPPED, tmp_path / "mine")
    assert load_model(folder).dims == model().dims
    page = json.loads((folder / "model.json").read_text())
    for change, message in (
        ({"version": 9}, "version 9, expected 1"),
        ({"base": "nobody"}, "cannot be read"),
        ({"base_digest": "00"}, "not the weights that mine was made with"),
        ({"doubt": [0.1]}, "damaged"),
        ({"doubt": [-1.0] * 6}, "doubt must not be negative"),
        ({"latents": 0}, "sizes that do not fit"),
        ({"csi_bytes": 20}, "20 bytes are too few"),
        ({"site_m": "here"}, "damaged"),
    ):
        (folder / "model.json").write_text(json.dumps(page | change))
        with pytest.raises(ModelError, match=message):
            load_model(folder)
    (folder / "model.json").write_text(json.dumps(page))
    for name in (MAP, BASES):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(b"nonsense")
        with pytest.raises(ModelError, match=r"not the file that model\.json was written with"):
            load_model(folder)
        (folder / name).unlink()
        with pytest.raises(ModelError, match=f"{name}: missing or damaged"):
            load_model(folder)
        (folder / name).write_bytes(whole)
    assert load_model(folder).dims == model().dims


def test_the_map_was_made_for_the_benchmark() -> None:
    """It knows nothing of where points are: sites, planes and the area alone."""
    points = shipped_pool("test-random")
    city = model().map_fix.city  # type: ignore[attr-defined]
    assert city.num_bs == 6
    high_m = city.corner_m + city.voxel_m * city.shape
    assert (points.position_m >= city.corner_m).all()
    assert (points.position_m <= high_m).all()


def test_a_map_takes_one_thread_of_linear_algebra_and_gives_the_others_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def threads() -> set[int]:
        return {int(library["num_threads"]) for library in algebra.info()}

    def watched(map_fix: MapFix, *heard: Any) -> tuple[Array, Array]:
        seen.append(threads())
        return fix(map_fix, *heard)

    algebra, fix = ThreadpoolController().select(user_api="blas"), MapFix.fix
    seen: list[set[int]] = []
    monkeypatch.setattr(MapFix, "fix", watched)
    latents, gain_db, _ = heard()
    with algebra.limit(limits=2):
        model().fuse(sent(latents, 8), gain_db, EVERYONE)
        assert threads() == {2}
    assert seen == [{1}] * 6
