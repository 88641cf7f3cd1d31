"""Variants of the comparison's systems differ in one thing, and see a thirteenth of the samples."""

from dataclasses import replace

import pytest

from models.config import TrainingConfig
from models.systems.front import kept_subcarriers
from sim.compare import read_folder
from sim.variants import CONFIGS, SEEDS, SHORTER, SUBCARRIERS, seeded, shortened_comparison, variants

WHOLE, WHOLE_TRUNKS = read_folder(CONFIGS), read_folder(CONFIGS / "trunks")
SYSTEMS, TRUNKS = shortened_comparison()
BUDGET = 77_824
SET_AGAINST = {
    "strategies": {
        "ecc-q10",
        "ecc-q8",
        "ecc-q6",
        "ecc-q4",
        "ecc-lossless",
        "ecc-q10-scratch",
        "ecc-q10-split",
    },
    "subcarriers": {"ecc-r-equal"},
    "seeds": {"ecc-r-equal"},
}


def samples(config: TrainingConfig) -> int:
    return (config.local.samples if config.local else 0) + config.joint.samples


def test_a_thirteenth_of_the_samples_is_a_thirteenth_of_everything() -> None:
    assert samples(WHOLE["ecc-q10"]) == SHORTER * BUDGET
    for whole, short in ((WHOLE, SYSTEMS), (WHOLE_TRUNKS, TRUNKS)):
        assert short.keys() == whole.keys()
        for name, config in short.items():
            before = whole[name]
            assert config.joint.samples == before.joint.samples // SHORTER
            assert config.joint.decay == before.joint.decay // SHORTER
            assert config.recalibrate == before.recalibrate // SHORTER
            assert config.joint.rate == before.joint.rate
            assert config.joint.warmup == before.joint.warmup
            assert (config.shape, config.after) == (before.shape, before.after)
            if before.local is not None and config.local is not None:
                assert config.local.samples == before.local.samples // SHORTER
            assert (config.local is None) == (before.local is None)
            if before.quantise_from is None:
                assert config.quantise_from is None
            else:
                assert config.quantise_from == before.quantise_from // SHORTER


@pytest.mark.parametrize("part", ["strategies", "subcarriers", "seeds"])
def test_all_variants_and_what_they_are_set_against_have_one_budget(part: str) -> None:
    found, trunks = variants(part)
    assert found.keys() & SYSTEMS.keys() == SET_AGAINST[part]
    assert found.keys() - SYSTEMS.keys()
    for name, config in found.items():
        assert config.name == name
        assert samples(config) == BUDGET
        assert config == SYSTEMS.get(name, config)
        assert config.after is None or config.after in trunks


def test_strategies_differ_in_bits_alone() -> None:
    found, _ = variants("strategies")
    new = found.keys() - SYSTEMS.keys()
    assert sorted(new) == ["ecc-q4-scratch", "ecc-q4-split"]
    for name in new:
        config = found[name]
        original = f"ecc-q10-{name[7:]}"
        assert replace(config, name=original, bits=10) == SYSTEMS[original]


def test_subcarriers_lie_in_the_band() -> None:
    found, _ = variants("subcarriers")
    assert found.pop("ecc-r-equal").subcarrier_step is None
    for config in found.values():
        assert config.subcarrier_step is not None
        kept = kept_subcarriers(SUBCARRIERS, config.shape.subcarriers, config.subcarrier_step)
        assert len(kept) == config.shape.subcarriers
        assert abs(kept[0] + kept[-1] - (SUBCARRIERS - 1)) <= 1, "in the middle"
    assert found["ecc-r-equal-6x4"].shape.subcarriers == 6


def test_every_seed_has_trunks_of_its_own() -> None:
    found, trunks = variants("seeds")
    assert {config.seed for config in (*found.values(), *trunks.values())} == {1, *SEEDS}
    again = seeded({name: SYSTEMS[name] for name in ("ecc-q10", "transformer")}, SEEDS[0])
    for config in (*found.values(), *trunks.values(), *again.values()):
        if config.after is not None:
            assert trunks[config.after].seed == config.seed
