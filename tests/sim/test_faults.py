import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.law import BernoulliLoss
from sim.faults import FaultEvent, schedule
from sim.scenario import Scenario, parse_scenario

BASE = """\
duration: 30 s
ues:
  ue1: {rate: 1 Hz, trajectory: {kind: line, from: [40 m, 80 m, 2 m], to: [50 m, 80 m, 2 m], speed: 1 m/s}}
fronthaul:
  default: {capacity: 10 Mbit/s, latency: 1 ms, loss: {kind: bernoulli, rate: 0.1 %}}
  shared: {core: {members: [bs1, bs2]}}
"""


def scenario(*faults: str, seed: int = 1) -> Scenario:
    entries = "".join(f"  - {{{fault}}}\n" for fault in faults)
    return parse_scenario(f"seed: {seed}\n" + BASE + ("faults:\n" + entries if faults else ""))


def told(*faults: str, seed: int = 1) -> list[str]:
    return [
        f"{event.t_ns / 1e9:g} {event.kind} {event.target} {event.detail}".strip()
        for event in schedule(scenario(*faults, seed=seed))
    ]


def test_no_faults_no_events() -> None:
    assert told() == []


def test_every_kind_begins_and_ends() -> None:
    assert told(
        "at: 10 s, kind: bs_down, bs: bs3, for: 8 s",
        "at: 12 s, kind: link_outage, link: bs2, for: 1 s",
        "at: 15 s, kind: capacity, link: bs1, to: 100 kbit/s, for: 5 s",
        "at: 20 s, kind: loss_burst, link: bs1, rate: 50 %, for: 2 s",
        "at: 21 s, kind: latency, link: core, to: 9 ms, for: 2 s",
    ) == [
        "10 bs_down bs3",
        "12 link_down bs2",
        "13 link_up bs2",
        "15 capacity bs1 100000",
        "18 bs_up bs3",
        "20 capacity bs1 10000000",
        "20 loss bs1 bernoulli 0.5",
        "21 latency core 9000000",
        "22 loss bs1 bernoulli 0.001",
        "23 latency core 0",
    ]


def test_without_an_end_it_lasts_to_the_end_of_the_run() -> None:
    assert told("at: 10 s, kind: bs_down, bs: bs3") == ["10 bs_down bs3"]
    assert told("at: 29 s, kind: bs_down, bs: bs3, for: 1 s") == ["29 bs_down bs3"]


def test_overlapping_faults_of_one_target_are_one() -> None:
    assert told(
        "at: 5 s, kind: bs_down, bs: bs1, for: 10 s",
        "at: 10 s, kind: bs_down, bs: bs1, for: 2 s",
        "at: 15 s, kind: bs_down, bs: bs1, for: 1 s",
    ) == ["5 bs_down bs1", "16 bs_up bs1"]


def test_the_last_to_begin_holds_and_then_the_one_before() -> None:
    assert told(
        "at: 5 s, kind: capacity, link: bs1, to: 1 Mbit/s, for: 10 s",
        "at: 10 s, kind: capacity, link: bs1, to: unlimited, for: 2 s",
    ) == [
        "5 capacity bs1 1000000",
        "10 capacity bs1 unlimited",
        "12 capacity bs1 1000000",
        "15 capacity bs1 10000000",
    ]


def test_a_fault_that_changes_nothing_is_no_event() -> None:
    assert told("at: 5 s, kind: capacity, link: bs1, to: 10 Mbit/s, for: 1 s") == []


def test_events_name_what_the_fronthaul_takes() -> None:
    events = schedule(
        scenario(
            "at: 1 s, kind: link_outage, link: core",
            "at: 2 s, kind: capacity, link: bs1, to: 1 Mbit/s",
            "at: 3 s, kind: latency, link: bs1, to: 2 ms",
            "at: 4 s, kind: loss_burst, link: bs1, rate: 100 %",
            "at: 5 s, kind: bs_down, bs: bs1",
        )
    )
    assert [event.change for event in events] == [
        {"up": False},
        {"capacity_bps": 1e6},
        {"latency_ns": 2_000_000},
        {"loss": BernoulliLoss(1.0)},
        {},
    ]
    assert events[0] == FaultEvent(1_000_000_000, "link", "core", False)


def test_random_faults_come_about_as_often_as_told() -> None:
    events = told("random: {kind: bs_down, bs: bs2, every: 100 ms, for: 1 us}")
    assert 2 * 300 * 0.8 < len(events) < 2 * 300 * 1.2
    assert {line.split()[2] for line in events} == {"bs2"}


@pytest.mark.parametrize(
    ("fault", "targets"),
    [
        ("kind: bs_down, bs: any", {"bs1", "bs2", "bs3", "bs4", "bs5", "bs6"}),
        ("kind: link_outage, link: any", {"bs1", "bs2", "bs3", "bs4", "bs5", "bs6", "core"}),
    ],
)
def test_any_is_any(fault: str, targets: set[str]) -> None:
    events = told(f"random: {{{fault}, every: 200 ms, for: 1 ms}}")
    assert {line.split()[2] for line in events} == targets


def test_random_faults_do_not_shift_each_other() -> None:
    downs = "random: {kind: bs_down, bs: bs1, every: 2 s, for: 100 ms}"
    losses = "random: {kind: loss_burst, link: any, rate: 50 %, every: 2 s, for: 100 ms}"
    alone = told(downs)
    assert alone == [line for line in told(losses, downs) if "bs_" in line]
    assert alone != told(downs, seed=2)
    twice = told(downs, downs)
    assert len(twice) > len(alone)


@given(
    spans=st.lists(
        st.tuples(st.integers(0, 29), st.integers(1, 40), st.sampled_from(["bs1", "bs2"])), max_size=12
    )
)
def test_a_base_station_is_down_exactly_while_a_fault_says_so(spans: list[tuple[int, int, str]]) -> None:
    events = schedule(
        scenario(*(f"at: {at} s, kind: bs_down, bs: {bs}, for: {long} s" for at, long, bs in spans))
    )
    assert [event.t_ns for event in events] == sorted(event.t_ns for event in events)
    for bs in ("bs1", "bs2"):
        up = True
        for second in range(30):
            for event in events:
                if event.target == bs and event.t_ns == second * 1_000_000_000:
                    assert event.setting is not up
                    up = bool(event.setting)
            assert up != any(at <= second < at + long and bs == other for at, long, other in spans)
