"""Chaos: things that go wrong in a run in real time, on a schedule or at random, to see what it does."""

import logging
import os
import signal
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pyarrow.compute as pc

from broker.bus import Publisher
from broker.streams import stream
from sim.agenda import Moment
from sim.api import RunResult
from sim.clock import NANOSECONDS_PER_SECOND, ns_from_s
from sim.errors import UserError
from sim.realtime import RealtimeWorld
from sim.reports import BROKER, CU
from sim.scenario import Scenario

Kind = Literal["kill", "hang", "link_down", "capacity", "garbage", "clock_jump"]
KINDS: tuple[Kind, ...] = get_args(Kind)
LONGEST_S = 3.0
"""A blow that lasts, lasts so long at most."""
THROTTLED_BPS = 20_000
GARBAGE_FRAMES = 500
CLOCK_JUMP_S = 1.0
WARM_UP_S = 30.0
LEAST_S = 10.0
FLAT_BYTES_PER_S = 4096
"""Memory that grows no faster is flat: a third of a gigabyte a day."""
COVARIANCE = ("cov_xx", "cov_xy", "cov_xz", "cov_yy", "cov_yz", "cov_zz")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Blow:
    """One thing that is done to a run.

    Attributes:
        t_ns: when.
        kind: `kill` and `hang` (SIGKILL; SIGSTOP and later SIGCONT) a part, `link_down` and `capacity`
            of a segment, `garbage` at the broker and a BS, `clock_jump` of a BS.
        target: the part, segment or BS.
        lasts_ns: until it is undone; 0 where there is nothing to undo.
    """

    t_ns: int
    kind: Kind
    target: str
    lasts_ns: int = 0


def random_blows(
    scenario: Scenario, every_s: float, seed: int, kinds: Sequence[Kind] = KINDS
) -> tuple[Blow, ...]:
    """One blow in every stretch of `every_s`, the same for the same seed.

    Raises:
        UserError: there is no such kind, or the stretch is not positive.
    """
    if every_s <= 0:
        raise UserError(f"a fault every {every_s:g} s: must be positive")
    for kind in kinds:
        if kind not in KINDS:
            raise UserError(f"{kind}: must be one of {', '.join(KINDS)}")
    blows = []
    tree, _ = scenario.fronthaul.laws()
    for number in range(int(scenario.duration / every_s)):
        random = stream(seed, "chaos", "blow", number)
        kind = kinds[int(random.integers(len(kinds)))]
        targets: Sequence[str] = scenario.bs_ids
        if kind in ("kill", "hang"):
            targets = (*scenario.bs_ids, BROKER, CU)
        elif kind in ("link_down", "capacity"):
            targets = tuple(tree)
        target = targets[int(random.integers(len(targets)))]
        t_s = (number + random.uniform(0.1, 0.9)) * every_s
        lasts_s = 0.0 if kind in ("kill", "garbage") else random.uniform(0.2, 1.0) * min(LONGEST_S, every_s)
        blows.append(Blow(ns_from_s(t_s), kind, target, ns_from_s(lasts_s)))
    return tuple(blows)


@dataclass(slots=True)
class Chaos:
    """Deals blows to a world, and watches what its processes need meanwhile.

    Attributes:
        blows: in order of time.
        dealt: how many of each kind.
        killed: how often each part.
        memory_bytes: resident memory by part and process: (run time in s, bytes) now and then.
    """

    blows: Sequence[Blow]
    seed: int = 0
    dealt: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    killed: Counter[str] = field(default_factory=Counter)
    memory_bytes: dict[tuple[str, int], list[tuple[float, int]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def prepare(self, world: RealtimeWorld) -> None:
        """Put all blows on a world's agenda."""
        for blow in self.blows:
            self._at(world, blow.t_ns, partial(self._deal, world, blow))
        for t_ns in range(0, world.scenario.duration_ns, 2 * NANOSECONDS_PER_SECOND):
            self._at(world, t_ns, lambda: self._weigh(world))

    def slopes_bytes_per_s(self) -> dict[str, float]:
        """How the memory of each part grew, over all its processes that lived long enough to tell.

        What a process takes at its start is no growth: its first `WARM_UP_S`, or half its life, do not count.
        """
        spread: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for (name, _), samples in self.memory_bytes.items():
            begin_s, end_s = samples[0][0], samples[-1][0]
            warm_s = min(begin_s + WARM_UP_S, (begin_s + end_s) / 2)
            late = np.array([sample for sample in samples if sample[0] >= warm_s], dtype=np.float64)
            if end_s - warm_s < LEAST_S or len(late) < 4:
                continue
            times, sizes = (late - late.mean(axis=0)).T
            spread[name][0] += float(times @ sizes)
            spread[name][1] += float(times @ times)
        return {name: product / square for name, (product, square) in spread.items()}

    def verdict(self, result: RunResult) -> list[str]:
        """What must not happen whatever is done to a run, and did; nothing if all is well."""
        found = [f"{name} died {times} times by itself" for name, times in self._deaths(result).items()]
        fixes = result.fixes.filter(pc.invert(result.fixes["missed"]))
        without = sum(1 for column in COVARIANCE if fixes[column].null_count)
        if without:
            found.append("there are fixes without covariance")
        frames = result.summary["frames"]
        ended = frames["delivered"] + frames["in_flight"] + sum(frames["dropped"].values())
        if frames["sent"] != ended:
            found.append(f"{frames['sent']} frames were sent, of {ended} the end is known")
        found += result.summary["errors"]
        for name, slope in self.slopes_bytes_per_s().items():
            if slope > FLAT_BYTES_PER_S:
                found.append(f"the memory of {name} grows by {slope / 1024:.1f} KiB/s")
        return found

    def _deaths(self, result: RunResult) -> dict[str, int]:
        """How often parts died that nobody had killed."""
        died = Counter(
            fault["target"] for fault in result.summary["faults"] if fault["detail"].startswith("died")
        )
        return dict(died - self.killed)

    def _at(self, world: RealtimeWorld, t_ns: int, action: Callable[[], None]) -> None:
        if t_ns < world.scenario.duration_ns:
            world.at(t_ns, Moment.FAULT, action)

    def _deal(self, world: RealtimeWorld, blow: Blow) -> None:
        _LOG.warning("%.1f s: %s %s", blow.t_ns / 1e9, blow.kind, blow.target)
        self.dealt[blow.kind] += 1
        undo = getattr(self, f"_{blow.kind}")(world, blow)
        if undo is not None:
            self._at(world, blow.t_ns + blow.lasts_ns, undo)

    def _kill(self, world: RealtimeWorld, blow: Blow) -> None:
        if signal_part(world, blow.target, signal.SIGKILL) is not None:
            self.killed[blow.target] += 1

    def _hang(self, world: RealtimeWorld, blow: Blow) -> Callable[[], None] | None:
        pid = signal_part(world, blow.target, signal.SIGSTOP)
        if pid is None:
            return None

        def go_on() -> None:
            if world.parts.peers[blow.target].pid == pid:
                signal_part(world, blow.target, signal.SIGCONT)

        return go_on

    def _link_down(self, world: RealtimeWorld, blow: Blow) -> Callable[[], None]:
        world.fronthaul.change(blow.target, blow.t_ns, up=False)
        return lambda: world.fronthaul.change(blow.target, world.now_ns, up=True)

    def _capacity(self, world: RealtimeWorld, blow: Blow) -> Callable[[], None]:
        normal = world.scenario.fronthaul.laws()[0][blow.target][0].capacity_bps
        world.fronthaul.change(blow.target, blow.t_ns, capacity_bps=THROTTLED_BPS)
        return lambda: world.fronthaul.change(blow.target, world.now_ns, capacity_bps=normal)

    def _garbage(self, world: RealtimeWorld, blow: Blow) -> None:
        """Frames that are none, to the broker; and air that is none, to a BS."""
        random = stream(self.seed, "chaos", "garbage", blow.t_ns)
        publisher = Publisher(
            world.parts.control.context, world.parts.endpoints.upstream, keys=world.parts.own_keys
        )
        try:
            publisher.wait_for_subscriber(timeout_s=0.2)
            for _ in range(GARBAGE_FRAMES):
                parts = [random.bytes(int(size)) for size in random.integers(0, 64, random.integers(1, 6))]
                publisher.publish([f"emb/{blow.target}/ue1/".encode(), *parts])
        except TimeoutError:
            pass  # the broker is away
        finally:
            publisher.close(0)
        for _ in range(GARBAGE_FRAMES // 10):
            world.parts.air.publish_parts((f"air/{blow.target}/".encode(), random.bytes(20), random.bytes(9)))

    def _clock_jump(self, world: RealtimeWorld, blow: Blow) -> Callable[[], None]:
        """A BS believes that it is another time."""
        ahead_ns = ns_from_s(CLOCK_JUMP_S if blow.t_ns % 2 else -CLOCK_JUMP_S)
        jumped = [[unix_ns + ahead_ns, *leg] for unix_ns, *leg in world.clock.plan()]
        world.parts.control.send(blow.target, "begin", jumped)

        def jump_back() -> None:
            world.parts.control.send(blow.target, "begin", world.clock.plan())

        return jump_back

    def _weigh(self, world: RealtimeWorld) -> None:
        t_s = world.now_ns / 1e9
        for name, pid in [("world", os.getpid()), *((p.name, p.pid) for p in world.parts.peers.values())]:
            size = resident_bytes(pid)
            if size:
                self.memory_bytes[name, pid].append((t_s, size))


def signal_part(world: RealtimeWorld, name: str, number: int) -> int | None:
    """Send a signal to a part that was started here; gives its process, None if there is none."""
    process = world.parts.peers[name].process
    if process is None or process.poll() is not None:
        return None
    os.kill(process.pid, number)
    return process.pid


def resident_bytes(pid: int) -> int:
    """Memory of a process; 0 if there is none."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
    except (OSError, IndexError):
        return 0
