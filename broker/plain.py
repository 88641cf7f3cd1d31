"""Fronthaul laws, fates and counts as plain values, so that they can travel between processes."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from broker.counts import Counts
from broker.law import (
    BernoulliLoss,
    CapacityTrace,
    CrossTraffic,
    ExponentialJitter,
    FronthaulLaw,
    GilbertElliottLoss,
    LognormalJitter,
    NoJitter,
    NoLoss,
    NormalJitter,
    UniformJitter,
)
from broker.packet import Fate

Tree = Mapping[str, tuple[FronthaulLaw, str | None]]

_KINDS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        BernoulliLoss,
        CapacityTrace,
        CrossTraffic,
        ExponentialJitter,
        FronthaulLaw,
        GilbertElliottLoss,
        LognormalJitter,
        NoJitter,
        NoLoss,
        NormalJitter,
        UniformJitter,
    )
}


def plain_from_law(value: Any) -> Any:
    """A law, or any part of one, as lists, maps with a `kind!`, numbers and texts."""
    if is_dataclass(value) and not isinstance(value, type):
        name = type(value).__name__
        assert name in _KINDS, f"{name} cannot travel"
        return {"kind!": name} | {
            field.name: plain_from_law(getattr(value, field.name)) for field in fields(value)
        }
    if isinstance(value, tuple | list):
        return [plain_from_law(one) for one in value]
    return value


def law_from_plain(plain: Any) -> Any:
    """The law that `plain_from_law` has taken apart. Raises ValueError for anything else."""
    if isinstance(plain, dict):
        values = {str(key): law_from_plain(value) for key, value in plain.items() if key != "kind!"}
        kind = _KINDS.get(str(plain.get("kind!")))
        if kind is None or not set(values) <= {field.name for field in fields(kind)}:
            raise ValueError(f"no law {plain.get('kind!')!r}")
        return kind(**values)
    if isinstance(plain, list | tuple):
        return tuple(law_from_plain(one) for one in plain)
    return plain


def plain_from_tree(tree: Tree) -> dict[str, Any]:
    """The segments of a fronthaul."""
    return {name: [plain_from_law(law), parent] for name, (law, parent) in tree.items()}


def tree_from_plain(plain: Mapping[str, Sequence[Any]]) -> dict[str, tuple[FronthaulLaw, str | None]]:
    """What `Fronthaul` takes."""
    return {name: (law_from_plain(law), parent) for name, (law, parent) in plain.items()}


def plain_from_fate(fate: Fate) -> list[Any]:
    """A fate without the body of its packet: [kind, bs, ue, seq, t_ns, cause, segment, queued_ns]."""
    packet = fate.packet
    return [
        fate.kind, packet.bs, packet.ue, packet.seq, fate.t_ns, fate.cause, fate.segment, fate.queued_ns,
    ]  # fmt: skip


def plain_from_counts(counts: Counts) -> list[Any]:
    """Counts in the order of their fields."""
    return [getattr(counts, field.name) for field in fields(counts)]


def counts_from_plain(plain: Sequence[Any]) -> Counts:
    """What `plain_from_counts` has taken apart."""
    return Counts(*plain)
