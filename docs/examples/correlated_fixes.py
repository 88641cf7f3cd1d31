"""What the tracker's ``correlation_time_s`` does when errors of fixes are alike for a while.

UEs wander with 1 m/s2; each fix is off by 1 m per axis, and that error fades over a given time. Run it with
``python -m docs.examples.correlated_fixes``: the table of docs/tracking.md.
"""

import math

import numpy as np

from broker.streams import stream
from nodes import Tracker, TrackerParams

TIMES_S = (0.0, 0.3, 1.0, 3.0)
NUM_UE = 300
NUM_FIXES = 80
INTERVAL_S = 0.1


def track_error_and_nees(fading_s: float, believed_s: float) -> tuple[float, float]:
    """Mean 3D error of tracks in m, and the NEES of their positions: 3 if the covariance is honest."""
    random = stream(1, "correlated fixes", f"{fading_s} s")
    kept = math.exp(-INTERVAL_S / fading_s) if fading_s else 0.0
    tracker = Tracker(TrackerParams(acceleration_mps2=1.0, gate=1.0, correlation_time_s=believed_s))
    ues = [f"ue{at}" for at in range(NUM_UE)]
    position, velocity, error = (random.normal(size=(NUM_UE, 3)) for _ in range(3))
    believed = np.repeat(np.eye(3)[None], NUM_UE, axis=0)
    errors_m, nees = [], []
    for step in range(NUM_FIXES):
        t_ns = round(step * INTERVAL_S * 1e9)
        tracker.update(ues, [t_ns] * NUM_UE, position + error, believed)
        if step >= NUM_FIXES // 2 and step % 10 == 0:
            tracks = [track for ue in ues if (track := tracker.track(ue)) is not None]
            off_m = np.array([track.position_m for track in tracks]) - position
            claimed = np.array([track.covariance[:3, :3] for track in tracks])
            errors_m.append(np.linalg.norm(off_m, axis=1).mean())
            nees.append((off_m * np.linalg.solve(claimed, off_m[:, :, None])[:, :, 0]).sum(axis=1).mean())
        change = random.normal(0, math.sqrt(INTERVAL_S), (NUM_UE, 3))
        jitter = random.normal(0, math.sqrt(INTERVAL_S**3 / 12), (NUM_UE, 3))
        position = position + INTERVAL_S * velocity + INTERVAL_S / 2 * change + jitter
        velocity = velocity + change
        error = kept * error + math.sqrt(1 - kept**2) * random.normal(size=(NUM_UE, 3))
    return float(np.mean(errors_m)), float(np.mean(nees))


def table() -> str:
    """Rows: how long errors last; columns: how long the tracker believes they do."""
    lines = ["| errors last | " + " | ".join(f"{believed_s:g} s believed" for believed_s in TIMES_S) + " |"]
    lines += ["| --- |" + " --- |" * len(TIMES_S)]
    for fading_s in TIMES_S:
        cells = [track_error_and_nees(fading_s, believed_s) for believed_s in TIMES_S]
        lines += [
            f"| {fading_s:g} s | "
            + " | ".join(f"{error_m:.1f} m, {nees:.1f}" for error_m, nees in cells)
            + " |"
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
