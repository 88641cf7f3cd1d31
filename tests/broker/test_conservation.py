"""Under any laws, faults and offers: no frame is lost without a cause, made up, or told of twice."""

from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from broker import (
    LAW_CAUSES,
    BernoulliLoss,
    CapacityTrace,
    CrossTraffic,
    ExponentialJitter,
    Fate,
    Fronthaul,
    FronthaulLaw,
    GilbertElliottLoss,
    NoJitter,
    NoLoss,
    NormalJitter,
    Packet,
    UniformJitter,
)

TREE = {"bs1": "shared", "bs2": "shared", "bs3": "trunk", "shared": "trunk", "trunk": None}
LAST_NS = 20_000


@dataclass(frozen=True)
class Action:
    """An offer of a packet, or a change of a segment."""

    t_ns: int
    packet: Packet | None = None
    segment: str = ""
    change: tuple[tuple[str, Any], ...] = ()


traces = st.builds(
    lambda first, pieces: CapacityTrace((0, *sorted(pieces)), (first, *(pieces[t] for t in sorted(pieces)))),
    st.integers(0, 10**10),
    st.dictionaries(st.integers(1, LAST_NS), st.integers(0, 10**10), max_size=4),
)
capacities = st.none() | st.integers(0, 10**10) | traces
losses = st.sampled_from([NoLoss(), BernoulliLoss(0.3), GilbertElliottLoss(0.2, 0.4, 0.9, 0.05)])
jitters = st.sampled_from([NoJitter(), UniformJitter(300), NormalJitter(200), ExponentialJitter(400)])
outages = st.lists(st.integers(0, LAST_NS), max_size=6, unique=True).map(
    lambda edges: tuple(zip(*[iter(sorted(edges))] * 2, strict=False))
)
laws = st.builds(
    FronthaulLaw,
    capacity_bps=capacities,
    latency_ns=st.integers(0, 1_000),
    jitter=jitters,
    loss=losses,
    queue_bytes=st.none() | st.integers(0, 3_000),
    discipline=st.sampled_from(["fifo", "freshest"]),
    outages=outages,
    cross_traffic=st.none()
    | st.builds(
        CrossTraffic, st.sampled_from(["poisson", "constant"]), st.integers(10**8, 10**10), st.just(500)
    ),
    keep_order=st.booleans(),
)
changes = st.fixed_dictionaries(
    {},
    optional={
        "capacity_bps": capacities,
        "latency_ns": st.integers(0, 1_000),
        "up": st.booleans(),
        "loss": losses,
    },
).map(lambda change: tuple(change.items()))


@st.composite
def actions(draw: st.DrawFn) -> list[Action]:
    """Draw offers and changes at times that all differ."""
    made = []
    seqs: dict[tuple[str, str], int] = {}
    for t_ns in sorted(draw(st.sets(st.integers(0, LAST_NS), max_size=40))):
        if draw(st.integers(0, 3)) == 0:
            made.append(Action(t_ns, segment=draw(st.sampled_from(list(TREE))), change=draw(changes)))
            continue
        bs, ue = draw(st.sampled_from(["bs1", "bs2", "bs3"])), draw(st.sampled_from(["ue1", "ue2"]))
        seqs[bs, ue] = seq = seqs.get((bs, ue), -1) + 1
        size_bits = draw(st.integers(1, 10_000))
        made.append(Action(t_ns, Packet(bs, ue, seq, size_bits, t_ns)))
    return made


trees = st.fixed_dictionaries(dict.fromkeys(TREE, laws))


def fronthaul_of(of: dict[str, FronthaulLaw], seed: int = 1) -> Fronthaul:
    tree = {name: (of[name], parent) for name, parent in TREE.items()}
    return Fronthaul(tree, {bs: bs for bs in ("bs1", "bs2", "bs3")}, seed)


def take(fronthaul: Fronthaul, action: Action) -> list[Fate]:
    if action.packet is not None:
        return fronthaul.offer(action.packet, action.t_ns)
    fronthaul.change(action.segment, action.t_ns, **dict(action.change))
    return []


@settings(max_examples=80)
@given(trees, actions(), st.lists(st.integers(0, LAST_NS), max_size=20))
def test_sent_is_delivered_dropped_and_in_flight_at_all_times(
    of: dict[str, FronthaulLaw], todo: list[Action], looks_ns: list[int]
) -> None:
    fronthaul = fronthaul_of(of)
    offered: set[Packet] = set()
    told: list[Fate] = []
    for moment in sorted([*todo, *map(Action, looks_ns)], key=lambda one: one.t_ns):
        told += take(fronthaul, moment) if moment.packet or moment.segment else []
        offered |= {moment.packet} if moment.packet else set()
        assert fronthaul.counts().conserved
        told += fronthaul.advance(moment.t_ns)
        assert fronthaul.counts().conserved
        for link, counts in fronthaul.link_counts().items():
            assert counts.conserved, link
        assert fronthaul.counts().sent == len(offered)
        assert fronthaul.counts().in_flight == len(offered) - len(told)
        assert fronthaul.counts().delivered == sum(fate.kind == "delivered" for fate in told)
    told += fronthaul.advance(10 * LAST_NS)
    packets = [fate.packet for fate in told]
    assert len(packets) == len(set(packets))
    assert set(packets) <= offered
    for fate in told:
        assert (fate.cause in LAW_CAUSES) if fate.kind == "dropped" else (fate.cause is None)
        assert fate.t_ns >= fate.packet.t_sample_ns + fate.queued_ns
    delivered_bits = sum(fate.packet.size_bits for fate in told if fate.kind == "delivered")
    assert fronthaul.counts().delivered_bits == delivered_bits
    assert fronthaul.counts().sent_bits == sum(packet.size_bits for packet in offered)


@settings(max_examples=80)
@given(trees, actions(), st.lists(st.integers(0, LAST_NS), max_size=30))
def test_how_often_it_is_advanced_changes_nothing(
    of: dict[str, FronthaulLaw], todo: list[Action], looks_ns: list[int]
) -> None:
    seldom, often = fronthaul_of(of), fronthaul_of(of)
    told_seldom = [fate for action in todo for fate in take(seldom, action)]
    told_seldom += seldom.advance(2 * LAST_NS)
    busy_ns = {action.t_ns for action in todo}
    told_often: list[Fate] = []
    for moment in sorted(
        [*todo, *(Action(t_ns) for t_ns in looks_ns if t_ns not in busy_ns)], key=lambda one: one.t_ns
    ):
        if moment.packet is None and not moment.segment:
            told_often += often.advance(moment.t_ns)
        else:
            told_often += take(often, moment)
    told_often += often.advance(2 * LAST_NS)
    assert sorted(told_often) == sorted(told_seldom)
    assert often.link_counts() == seldom.link_counts()
    assert often.utilisation() == seldom.utilisation()


@settings(max_examples=50)
@given(trees, actions())
def test_nothing_happens_before_the_next_event(of: dict[str, FronthaulLaw], todo: list[Action]) -> None:
    fronthaul = fronthaul_of(of)
    now_ns = 0

    def drain(until_ns: int) -> None:
        nonlocal now_ns
        while (next_ns := fronthaul.next_event_ns()) is not None and next_ns < until_ns:
            if next_ns > now_ns:
                assert fronthaul.advance(next_ns - 1) == []
            assert all(fate.t_ns == next_ns for fate in fronthaul.advance(next_ns))
            now_ns = next_ns
        assert fronthaul.advance(until_ns - 1) == []

    for action in todo:
        if action.t_ns:
            drain(action.t_ns)
        take(fronthaul, action)
        now_ns = action.t_ns
    drain(5 * LAST_NS)


@settings(max_examples=50)
@given(trees, actions())
def test_the_same_seed_tells_the_same(of: dict[str, FronthaulLaw], todo: list[Action]) -> None:
    one, other = fronthaul_of(of), fronthaul_of(of)
    for action in todo:
        assert take(one, action) == take(other, action)
    assert one.advance(2 * LAST_NS) == other.advance(2 * LAST_NS)


@settings(max_examples=50)
@given(laws, laws, actions(), st.booleans())
def test_one_component_never_shifts_anothers_draws(
    own: FronthaulLaw, neighbour: FronthaulLaw, todo: list[Action], neighbour_is_silent: bool
) -> None:
    """Base station 3 has a segment of its own: what its neighbours do is nothing to it."""

    def told_of_bs3(neighbours: FronthaulLaw, offers: list[Action]) -> list[Fate]:
        tree = {"bs1": (neighbours, None), "bs2": (neighbours, None), "bs3": (own, None)}
        fronthaul = Fronthaul(tree, {bs: bs for bs in tree}, seed=1)
        told = [fate for action in offers for fate in take(fronthaul, action)]
        return sorted(fate for fate in told + fronthaul.advance(2 * LAST_NS) if fate.packet.bs == "bs3")

    offers = [action for action in todo if action.packet is not None]
    fewer = [action for action in offers if action.packet and action.packet.bs == "bs3"]
    expected = told_of_bs3(own, offers)
    assert told_of_bs3(neighbour, fewer if neighbour_is_silent else offers) == expected


@settings(max_examples=50)
@given(actions(), losses, jitters, st.sets(st.integers(0, 40)))
def test_a_frames_fortune_is_its_own(todo: list[Action], loss: Any, jitter: Any, left_out: set[int]) -> None:
    """On a shared segment too: leaving frames out changes neither loss nor delay of the others."""
    if isinstance(loss, GilbertElliottLoss):
        loss = BernoulliLoss(0.5)
    law = FronthaulLaw(latency_ns=100, loss=loss, jitter=jitter)

    def told(offers: list[Action]) -> dict[Packet, Fate]:
        fronthaul = fronthaul_of(dict.fromkeys(TREE, law))
        fates = [fate for action in offers for fate in take(fronthaul, action)]
        return {fate.packet: fate for fate in fates + fronthaul.advance(10 * LAST_NS)}

    offers = [action for action in todo if action.packet is not None]
    everything = told(offers)
    for packet, fate in told([one for k, one in enumerate(offers) if k not in left_out]).items():
        assert everything[packet] == fate
