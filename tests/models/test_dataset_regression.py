"""Regression on gains: closed forms against doing it, and how it is blended with a network."""

import numpy as np
import pytest
import torch

from models import dataset_regression
from models.dataset_network import PlaceFusion
from models.dataset_regression import BlendedFusion, GainRegression, best_share, fitted


def room(places: int, packets: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gains in dB at five sites around a square, all heard, and positions at one height."""
    draw = np.random.default_rng(seed)
    angle = np.arange(5) * 2 * np.pi / 5
    sites = 12 * np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    position = np.repeat(draw.uniform(-8, 8, (places, 3)) * [1, 1, 0] + [0, 0, 1], packets, axis=0)
    gain = -20 * np.log10(np.linalg.norm(position[:, None] - sites, axis=2))
    gain += draw.normal(size=gain.shape) * 0.3
    return (
        torch.tensor(gain).float(),
        torch.ones(gain.shape, dtype=torch.bool),
        torch.tensor(position).float(),
    )


def names(packets: int, places: int) -> np.ndarray:
    return np.repeat([f"place {number}" for number in range(places)], packets)


def test_unseen_places_are_found_and_height_is_left() -> None:
    gains, _ = fitted(*room(60, 4, 1), names(4, 60))
    assert len(gains.places) == 60
    gain, heard, truth = room(30, 2, 2)
    found = gains(gain, heard.float())
    error = torch.linalg.vector_norm(found - truth, dim=1).mean()
    apart = torch.linalg.vector_norm(truth - truth.mean(0), dim=1).mean()
    assert error < 0.25 * apart, (error, apart)
    torch.testing.assert_close(found[:, 2], truth[:, 2])


@pytest.mark.parametrize("packets", [1, 3])
def test_what_is_said_of_groups_left_out_is_what_leaving_them_out_gives(
    packets: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Groups of several places (trajectories), whose closed form is a block at a time."""
    monkeypatch.setattr(dataset_regression, "REACHES", (0.8,))
    monkeypatch.setattr(dataset_regression, "NOISES", (0.1,))
    gain, heard, place = room(12 * packets, 1, 3)
    group = names(packets, 12)
    whole, left = fitted(gain, heard, place, group)
    points = whole.points(gain).double().numpy()
    target = (place - place.mean(0)).double().numpy()
    error = []
    for name in np.unique(group):
        out = group == name
        kernel = np.exp(-((points[:, None] - points[~out]) ** 2).sum(2) / (2 * float(whole.reach)))
        weight = np.linalg.solve(kernel[~out] + 0.1 * np.eye((~out).sum()), target[~out])
        error.append(np.linalg.norm(kernel[out] @ weight - target[out], axis=1))
    assert left.mean_m == pytest.approx(np.concatenate(error).mean(), rel=1e-3)


def test_what_a_link_that_is_not_there_holds_does_not_matter() -> None:
    gain, heard, place = room(20, 1, 4)
    gains, _ = fitted(gain, heard, place, names(1, 20))
    silent = heard.clone()
    silent[:, 2] = False
    garbage = gain.clone()
    garbage[:, 2] = 77.0
    torch.testing.assert_close(gains(garbage, silent.float()), gains(gain, silent.float()))
    none = gains(gain, torch.zeros(gain.shape))
    assert torch.isfinite(none).all()


def test_a_missing_gain_is_as_at_places_where_the_others_are_alike() -> None:
    """Not as if the base station were far: two of five gone at once cost some of what is known, not most."""
    gain, heard, place = room(80, 4, 1)
    gains, _ = fitted(gain, heard, place, names(4, 80))
    gain, heard, truth = room(60, 1, 2)
    gone = heard.clone()
    gone[:, [0, 3]] = False
    expected = gains.expected(gain, gone.float())
    torch.testing.assert_close(expected[gone], gains.filled(gain, heard)[gone])
    missed_db = (expected - gain)[~gone].abs().mean()
    assert missed_db < 0.5 * (gain - gains.gain_mean)[~gone].abs().mean(), missed_db

    def error_m(position_m: torch.Tensor) -> float:
        return float(torch.linalg.vector_norm(position_m - truth, dim=1).mean())

    whole, some = error_m(gains(gain, heard.float())), error_m(gains(gain, gone.float()))
    weak = torch.where(gone, gain, gains.weakest_db)
    assert some < 0.5 * error_m(gains(weak, heard.float()))
    assert some < 0.3 * error_m(gains.centre_m.expand(len(truth), 3)), (whole, some)


def test_who_is_weak_at_places_like_this_counts_as_weak() -> None:
    """Of base stations that are not heard from afar, silence is no news."""
    gain, heard, place = room(80, 4, 1)
    heard &= gain > gain.median()
    gains, _ = fitted(gain, heard, place, names(4, 80))
    expected = gains.expected(gain, heard.float())
    silent = ~heard & (heard.sum(1, keepdim=True) >= 2)
    above_db = (expected - gains.weakest_db)[silent]
    assert above_db.mean() < 0.25 * (gains.loudest_db - gains.weakest_db).mean()


def test_levels_beyond_those_of_training_are_its_outermost() -> None:
    """A base station that is much louder than ever would otherwise be far from all that is known."""
    gain, heard, place = room(30, 1, 7)
    gains, _ = fitted(gain, heard, place, names(1, 30))
    louder, most = gain.clone(), gain.clone()
    louder[:, 1], most[:, 1] = 60.0, gain[:, 1].max()
    torch.testing.assert_close(
        gains.points(gains.filled(louder, heard))[:, :5], gains.points(gains.filled(most, heard))[:, :5]
    )
    torch.testing.assert_close(gains(louder, heard.float()), gains(most, heard.float()))
    low, high = (edge(gains.points(gain), 0) for edge in (torch.amin, torch.amax))
    beyond = gains.points(gains.filled(gain + 50 * torch.randn(gain.shape), heard))
    assert ((beyond >= low - 1e-5) & (beyond <= high + 1e-5)).all()


def test_who_was_never_heard_is_not_the_loudest() -> None:
    gain, heard, place = room(30, 1, 8)
    heard[:, 3] = False
    gains, _ = fitted(gain - 100, heard, place, names(1, 30))
    assert gains.weakest_db[3] == gains.weakest_db.min()
    assert gains.loud_mean[:3].max() > 0.5


def test_places_that_scatter_are_places() -> None:
    gain, heard, place = room(20, 6, 9)
    place = place + 0.02 * torch.randn(place.shape)
    assert len(fitted(gain, heard, place, names(6, 20))[0].places) == 20


def test_shares_are_half_unless_others_are_clearly_better() -> None:
    truth = np.random.default_rng(5).normal(size=(200, 3))
    wrong, equal = truth + 1.0, truth - 1.05
    assert best_share(wrong, equal, truth) == 0.5
    assert best_share(truth, wrong, truth) == 1.0
    assert best_share(wrong, truth, truth) == 0.0


def test_a_blend_lies_between_and_admits_that_its_parts_disagree() -> None:
    torch.manual_seed(6)
    network, gains = PlaceFusion(3, 4, 8), GainRegression(1, 3)
    gains.centre_m += 10.0
    fed = torch.randn(7, 3, 4), torch.randn(7, 3), torch.ones(7, 3)
    one, alone = network.estimate(*fed)
    both, wider = BlendedFusion(network, gains, 0.25).estimate(*fed)
    other = gains(*fed[1:])
    torch.testing.assert_close(both, 0.25 * one + 0.75 * other)
    apart = one - other
    expected = alone + 0.25 * 0.75 * torch.einsum("ni,nj->nij", apart, apart)
    torch.testing.assert_close(wider, expected)
