"""Send policies as plain values: the ones that come with the project travel, one's own do not."""

from collections.abc import Mapping
from typing import Any

from nodes.base_station import SendPolicy
from nodes.policy import DeltaPolicy, FitPolicy, InnovationPolicy, Link
from nodes.tracker import TrackerParams


def policy_from_plain(plain: Mapping[str, Any] | None) -> SendPolicy | None:
    """The policy that was told; None sends everything.

    Raises:
        ValueError: there is no such policy.
    """
    if plain is None:
        return None
    match plain.get("kind"):
        case "fit":
            return FitPolicy(Link(**plain["link"]), plain["min_bits"])
        case "innovation":
            tracker = TrackerParams(acceleration_mps2=plain["acceleration_mps2"])
            return InnovationPolicy(plain["bound_m"], plain["at_least_every_ns"], tracker)
        case "delta":
            return DeltaPolicy(plain["bound"], plain["at_least_every_ns"])
    raise ValueError(f"no policy {plain.get('kind')!r}")
