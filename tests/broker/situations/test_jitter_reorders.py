import pytest

from broker import FronthaulLaw, UniformJitter
from tests.broker.situations.story import MS, Story


@pytest.mark.parametrize("keep_order", [False, True])
def test_only_where_order_is_not_kept(keep_order: bool) -> None:
    law = FronthaulLaw(latency_ns=5 * MS, jitter=UniformJitter(5 * MS), keep_order=keep_order)
    story = Story(law)
    names = [f"bs1/ue1#{seq}" for seq in range(50)]
    for k, name in enumerate(names):
        story.offer(k, name)
    arrived = [line.split()[2] for line in story.told()]
    assert sorted(arrived) == sorted(names)
    assert (arrived == names) == keep_order
