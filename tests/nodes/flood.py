"""Bad frames by the million for whoever takes frames: malformed, truncated, replayed, oversized."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from broker.frame import FrameError, decode_frame, encode_frame
from broker.refusals import Refusals
from broker.streams import stream
from models.testing import GeometryModel
from nodes import BaseStation, CentralUnit, CuPolicy, Fix
from nodes.air import Air, decode_air, encode_air

Parts = Sequence[bytes]
GOOD_EVERY = 1000
STEP_NS = 100_000_000


def mutants(good: Parts, seed: int) -> Iterator[list[bytes]]:
    """Messages that are nearly like a good one, and mostly none."""
    random = stream(seed, "test", "flood")
    while True:
        parts = list(good)
        kind, at = int(random.integers(7)), int(random.integers(len(parts)))
        victim = bytearray(parts[at])
        match kind:
            case 0 if victim:  # a few bytes are other ones
                for _ in range(int(random.integers(1, 4))):
                    victim[int(random.integers(len(victim)))] = int(random.integers(256))
                parts[at] = bytes(victim)
            case 1:  # cut off
                parts[at] = bytes(victim[: int(random.integers(len(victim) + 1))])
            case 2:  # too long
                parts[at] = bytes(victim) + random.bytes(int(random.integers(1, 500)))
            case 3:  # a part too few, or too many
                parts = parts[:at] if random.integers(2) else [*parts, b""]
            case 4:  # noise
                parts[at] = random.bytes(int(random.integers(200)))
            case 5:  # in another order
                parts = [parts[int(index)] for index in random.permutation(len(parts))]
            case _:  # nested deeply, which makes careless readers fall over
                parts[at] = b"\x91" * int(random.integers(1, 3000))
        yield parts


def flood_of_frames(count: int, seed: int = 1) -> tuple[Counter[str], list[str], int]:
    """Give a central unit bad frames with a good snapshot among every thousand.

    Gives what was refused by cause, the BSs of each fix, and how many good snapshots there were.
    """
    model = GeometryModel(("bs1", "bs2"), dims=12)
    stations = [BaseStation(bs, model, "run1") for bs in model.bs_ids]
    unit = CentralUnit(model, CuPolicy(deadline_ns=50_000_000), run="run1")
    refusals, verdicts = Refusals(), Counter[str]()
    fixes: list[str] = []
    pilots = model.pilots_at([10.0, 20.0, 3.0], shape=(2, 2, 4))
    good: list[tuple[bytes, bytes, bytes]] = []
    source: Iterator[list[bytes]] = iter(())
    t_ns = 0
    snapshots = 0
    for number in range(count):
        if number % GOOD_EVERY == 0:
            t_ns = snapshots * STEP_NS
            good = []
            for station in stations:
                frame = station.snapshot("ue1", None, t_ns, pilots, 1.0, t_ns)
                assert frame is not None
                good.append(encode_frame(frame))
                assert unit.receive(decode_frame(good[-1]), t_ns).taken
            snapshots += 1
            fixes += [",".join(one.bs_used) for one in unit.advance(t_ns) if isinstance(one, Fix)]
            source = mutants(good[0], seed + number)
        bad = list(good[number % 2]) if number % 10 == 0 else next(source)
        try:
            frame = decode_frame(bad, known_models={model.digest})
        except FrameError as error:
            refusals.refuse(error, "flood")
            continue
        # What can be read is a replay, or says something else under a number that was there already.
        if frame.seq == snapshots - 1 and frame.t_sample_ns == t_ns and frame.run == "run1":
            verdict = unit.receive(frame, t_ns)
            assert not verdict.taken, (verdict, bad)
            verdicts[verdict.cause or verdict.kind] += 1
    fixes += [",".join(one.bs_used) for one in unit.advance(t_ns + STEP_NS) if isinstance(one, Fix)]
    return Counter(refusals.by_cause) + verdicts, fixes, snapshots


def flood_of_air(count: int, seed: int = 1) -> Counter[str]:
    """Give a BS what no radio sends; gives what was refused by cause."""
    pilots = np.ones((2, 3, 4), np.complex64)
    source = mutants(encode_air(Air("run1", "bs1", "ue1", 1, 2, 3, 0.5, pilots)), seed)
    refused = Counter[str]()
    for _, bad in zip(range(count), source, strict=False):
        try:
            air = decode_air(bad)
        except FrameError as error:
            refused[error.cause] += 1
        else:
            assert air.pilots.size == 24
            assert np.isfinite(air.pilots).all()
            refused["read"] += 1
    return refused
