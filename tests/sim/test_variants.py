"""Variants of the comparison's systems differ in one thing, and see as many samples."""

from dataclasses import replace

import pytest

from models.systems.front import kept_subcarriers
from sim.compare import read_folder
from sim.variants import CONFIGS, SEEDS, SUBCARRIERS, seeded, variants

SYSTEMS = read_folder(CONFIGS)
BUDGET = 77_824


@pytest.mark.parametrize("part", ["strategies", "subcarriers", "seeds"])
def test_all_variants_have_the_budget_of_the_comparison(part: str) -> None:
    found, trunks = variants(part)
    assert found
    assert not found.keys() & SYSTEMS.keys()
    for name, config in found.items():
        assert config.name == name
        assert (config.local.samples if config.local else 0) + config.joint.samples == BUDGET
        assert config.after is None or config.after in trunks


def test_strategies_differ_in_bits_alone() -> None:
    found, _ = variants("strategies")
    assert sorted(found) == ["ecc-q4-scratch", "ecc-q4-split"]
    for name, config in found.items():
        original = f"ecc-q10-{name[7:]}"
        assert replace(config, name=original, bits=10) == SYSTEMS[original]


def test_subcarriers_lie_in_the_band() -> None:
    found, _ = variants("subcarriers")
    for config in found.values():
        assert config.subcarrier_step is not None
        kept = kept_subcarriers(SUBCARRIERS, config.shape.subcarriers, config.subcarrier_step)
        assert len(kept) == config.shape.subcarriers
        assert abs(kept[0] + kept[-1] - (SUBCARRIERS - 1)) <= 1, "in the middle"
    assert found["ecc-r-equal-6x4"].shape.subcarriers == 6


def test_every_seed_has_trunks_of_its_own() -> None:
    found, trunks = variants("seeds")
    assert {config.seed for config in (*found.values(), *trunks.values())} == set(SEEDS)
    again = seeded({name: SYSTEMS[name] for name in ("ecc-q10", "transformer")}, SEEDS[0])
    for config in (*found.values(), *trunks.values(), *again.values()):
        if config.after is not None:
            assert trunks[config.after].seed == config.seed
