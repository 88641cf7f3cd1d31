"""Situations as text: frames that arrive, and what a collector makes of them."""

from broker.frame import Frame
from nodes.collector import Collector, Snapshot
from nodes.cu_policy import CuPolicy

MS = 1_000_000


def frame(words: str, *, run: str = "run", dims: int = 4, bits: int = 8) -> Frame:
    """The frame that ``bs1/ue1#3@100`` stands for: number 3, sampled at 100 ms."""
    bs, rest = words.split("/")
    ue, rest = rest.split("#")
    seq, t_ms = rest.split("@")
    return Frame(
        run=run,
        bs=bs,
        ue=ue,
        seq=int(seq),
        t_sample_ns=int(t_ms) * MS,
        t_publish_ns=int(t_ms) * MS,
        dims=dims,
        bits=bits,
        step=0.5,
        gain_db=20.0,
        model=b"12345678",
        payload=bytes(dims * bits // 8),
    )


def tell(snapshot: Snapshot) -> str:
    again = f" again ({snapshot.revision})" if snapshot.revision else ""
    used = ",".join(snapshot.bs_used)
    return f"{snapshot.t_close_ns // MS} {snapshot.ue}@{snapshot.t_sample_ns // MS} closes{again}: {used}"


def play(story: str, *, bss: str = "bs1 bs2 bs3", policy: CuPolicy | None = None, every_ms: int = 1) -> str:
    """Play frames, one per line as ``ARRIVAL_MS FRAME``, and write down what happens, in order.

    bss: those that are expected.
    every_ms: how often the driver asks what has closed; 0 asks only where the law says that it must.
    """
    events: list[str] = []
    collector = Collector(
        bss.split(),
        policy or CuPolicy(),
        on_gap=lambda gap: events.append(
            f"{gap.t_ns // MS} {gap.bs}/{gap.ue} misses #{gap.first}-{gap.last}"
        ),
    )
    arrivals = [line.split() for line in story.strip().splitlines()]
    end_ms = int(arrivals[-1][0]) + 2000
    by_time: dict[int, list[str]] = {}
    for at, words in arrivals:
        by_time.setdefault(int(at), []).append(words)
    for t_ms in range(end_ms):
        for words in by_time.get(t_ms, []):
            verdict = collector.receive(frame(words), t_ms * MS)
            cause = f" ({verdict.cause})" if verdict.cause else ""
            events.append(f"{t_ms} {words} {verdict.kind}{cause}")
        deadline_ns = collector.next_deadline_ns()
        due = deadline_ns is not None and deadline_ns <= t_ms * MS
        if due or (every_ms and t_ms % every_ms == 0):
            events += [tell(snapshot) for snapshot in collector.closed(t_ms * MS)]
    return "\n".join(events)
