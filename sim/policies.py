"""The congestion control that a scenario wants at each base station."""

from __future__ import annotations

import math
import sys
from types import ModuleType
from typing import Any

from broker.law import CapacityTrace, Jitter, NoJitter, UniformJitter
from nodes import Heard, Payload, SendPolicy
from nodes.policy import DeltaPolicy, FitPolicy, InnovationPolicy, Link
from nodes.tracker import TrackerParams
from sim.clock import ns_from_s
from sim.errors import UserError
from sim.scenario import Scenario
from sim.scenario import policy as written

HEADER_BYTES = 96
"""Topic and header of a frame, with room for long names and late times."""


def policy_of(scenario: Scenario, bs: str) -> SendPolicy | None:
    """The policy of one base station, fresh; None where it sends what `model` says.

    Raises:
        UserError: a policy's file cannot be run, or defines none.
    """
    wanted = scenario.bs.policy
    if isinstance(wanted, written.FitPolicy):
        return FitPolicy(link_of(scenario, bs, ns_from_s(wanted.reserve)), wanted.min_bits)
    if isinstance(wanted, written.InnovationPolicy):
        tracker = TrackerParams(acceleration_mps2=scenario.tracker.acceleration)
        return InnovationPolicy(wanted.bound, ns_from_s(wanted.at_least_every), tracker)
    if isinstance(wanted, written.DeltaPolicy):
        return DeltaPolicy(wanted.bound, ns_from_s(wanted.at_least_every))
    if isinstance(wanted, written.FilePolicy):
        return policy_in(wanted, scenario, bs)
    return None


def link_of(scenario: Scenario, bs: str, reserve_ns: int = 0) -> Link:
    """What a base station knows of its way: its even share of the narrowest segment, and the latency."""
    tree, attach = scenario.fronthaul.laws()
    sharing = dict.fromkeys(tree, 0)
    for segment in attach.values():
        for passed in way(tree, segment):
            sharing[passed] += 1
    capacity_bps, latency_ns = math.inf, reserve_ns
    for segment in way(tree, attach[bs]):
        law = tree[segment][0]
        capacity = law.capacity_bps
        if isinstance(capacity, CapacityTrace):
            capacity = min(capacity.capacities_bps)
        if capacity is not None:
            capacity_bps = min(capacity_bps, capacity / sharing[segment])
        latency_ns += law.latency_ns + greatest(law.jitter)
    return Link(
        capacity_bps=capacity_bps,
        latency_ns=latency_ns,
        deadline_ns=ns_from_s(scenario.cu.deadline),
        processing_ns=ns_from_s(scenario.bs.processing),
        overhead_bytes=HEADER_BYTES + round(scenario.fronthaul.overhead),
    )


def way(tree: dict[str, tuple[Any, str | None]], segment: str | None) -> list[str]:
    """The segments from one to the central unit."""
    passed = []
    while segment is not None:
        passed.append(segment)
        segment = tree[segment][1]
    return passed


def greatest(jitter: Jitter) -> int:
    """The greatest jitter, or twice what is typical of one without bound, in ns."""
    if isinstance(jitter, NoJitter):
        return 0
    if isinstance(jitter, UniformJitter):
        return jitter.spread_ns
    return 2 * jitter.delay_ns(0.5, 0)


def policy_in(wanted: written.FilePolicy, scenario: Scenario, bs: str) -> SendPolicy:
    """The policy that a file defines; raises UserError."""
    assert wanted.source is not None
    module = ModuleType(f"policy_of_{bs}")
    sys.modules[module.__name__] = module  # where a dataclass looks for what its annotations name
    names = vars(module)
    place = wanted.file or "bs.policy.source"
    try:
        code = compile(wanted.source, place, "exec", dont_inherit=True)
        exec(code, names)  # noqa: S102 - the user's own, named by the user
        makes = "make_policy" in names
        found = names["make_policy"](bs, link_of(scenario, bs)) if makes else names.get("policy")
    except Exception as error:
        raise UserError(f"{place}: {type(error).__name__}: {error}") from error
    if makes and not callable(found):
        raise UserError(f"{place}: make_policy(bs, link) must return a policy(heard), not {found!r}")
    if not callable(found):
        raise UserError(f"{place}: defines neither policy(heard) nor make_policy(bs, link)")
    own: SendPolicy = found

    def policy(heard: Heard) -> Payload | None:
        try:
            return own(heard)
        except Exception as error:
            where = f"{heard.bs}, {heard.ue}#{heard.seq}"
            raise UserError(f"{place}: {type(error).__name__} at {where}: {error}") from error

    return policy
