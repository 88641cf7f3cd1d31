"""Laws travel between processes as plain values."""

import msgpack
import pytest

from broker.law import (
    BernoulliLoss,
    CapacityTrace,
    CrossTraffic,
    FronthaulLaw,
    GilbertElliottLoss,
    LognormalJitter,
    UniformJitter,
)
from broker.plain import law_from_plain, plain_from_law, plain_from_tree, tree_from_plain

LAWS = [
    FronthaulLaw(),
    FronthaulLaw(capacity_bps=1e6, jitter=UniformJitter(7), loss=BernoulliLoss(0.1), queue_bytes=100),
    FronthaulLaw(
        capacity_bps=CapacityTrace((0, 10), (5, 6)),
        jitter=LognormalJitter(3, 0.5),
        loss=GilbertElliottLoss(0.1, 0.2),
        outages=((1, 2), (3, 4)),
        cross_traffic=CrossTraffic("poisson", 1000),
        discipline="freshest",
    ),
]


@pytest.mark.parametrize("law", LAWS)
def test_a_law_travels(law: FronthaulLaw) -> None:
    assert law_from_plain(msgpack.unpackb(msgpack.packb(plain_from_law(law)))) == law


def test_a_tree_travels() -> None:
    tree = {"bs1": (LAWS[1], "all"), "all": (LAWS[2], None)}
    assert tree_from_plain(msgpack.unpackb(msgpack.packb(plain_from_tree(tree)))) == tree


@pytest.mark.parametrize("plain", [{"kind!": "os.system"}, {"kind!": "BernoulliLoss", "other": 1}, {}])
def test_anything_else_is_no_law(plain: object) -> None:
    with pytest.raises(ValueError, match="no law"):
        law_from_plain(plain)
