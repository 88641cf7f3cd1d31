"""The world of a run whose parts are elsewhere, as a program: `python -m tests.sim.world_apart`.

Prints what happens, and `now cut` and `now mend` when the cable of a base station is to be cut and mended.
"""

import sys
from functools import partial
from pathlib import Path
from typing import Any

from models.testing import GeometryModel
from sim.agenda import Moment
from sim.clock import ns_from_s
from sim.realtime import RealtimeWorld, run_realtime
from tests.sim.kit import TWO_BS, GeometryChannel, scenario_of, walking_from

CUT_S, MEND_S, END_S = 3, 6, 10
RUN: dict[str, Any] = {
    "deployment": TWO_BS,
    "duration": f"{END_S} s",
    "ues": {f"ue{n}": walking_from(70 + n) for n in range(1, 5)},
    "cu": {"deadline": "500 ms", "min_bs": 1, "processing": "5 ms"},
}


def prepare(world: RealtimeWorld) -> None:
    """Say when it is time."""
    for t_s, what in ((CUT_S, "cut"), (MEND_S, "mend")):
        world.at(ns_from_s(t_s), Moment.FAULT, partial(print, "now", what, flush=True))


def main() -> None:
    """Run; the last line says whether all frames are accounted for, and how far the world was behind."""
    keys, host, port = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    scenario = scenario_of(RUN)
    model = GeometryModel(scenario.bs_ids)
    result = run_realtime(
        scenario,
        model=model,
        channel=GeometryChannel(scenario, model),
        keys_folder=keys,
        host=host,
        port=port,
        spawn=[],
        prepare=prepare,
        listener=lambda event: print(event, flush=True),
    )
    verdict = "valid" if result.summary["valid"] else "invalid"
    print(verdict, result.summary["lag_max_s"], flush=True)


if __name__ == "__main__":
    main()
