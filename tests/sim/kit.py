"""A world without weights and traces: the model that needs none, and a channel that speaks to it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.testing import GeometryModel
from sim.api import RunResult, run
from sim.fingerprint import Event
from sim.scenario import Scenario
from sim.scenario.document import dump
from sim.scenario.load import parse_scenario

ROOT = Path(__file__).resolve().parents[2]
FINGERPRINTS = ROOT / "tests" / "fingerprints.json"
SHIPPED_DIMS = 776
"""Of the shipped models: sizes of frames are part of a fingerprint, weights and channels are not."""


def walking_from(x_m: float, rate: str = "10 Hz") -> dict[str, Any]:
    """A UE on a short line in an open place."""
    points = {"from": [f"{x_m} m", "100 m", "5 m"], "to": [f"{x_m + 5} m", "105 m", "5 m"]}
    return {"trajectory": {"kind": "line", **points, "duration": "10 s"}, "rate": rate}


QUIET: dict[str, Any] = {
    "seed": 1,
    "duration": "0.3 s",
    "ues": {"ue1": walking_from(80)},
    "bs": {"processing": "2 ms"},
    "fronthaul": {"default": {"capacity": "10 Mbit/s", "latency": "1 ms"}},
    "cu": {"deadline": "50 ms", "min_bs": 2, "processing": "5 ms"},
}
TWO_BS = {"preset": "munich6", "sites": dict.fromkeys(["bs3", "bs4", "bs5", "bs6"])}


class GeometryChannel:
    """Pilots from which `GeometryModel` reads where the UE is."""

    def __init__(self, scenario: Scenario, model: GeometryModel, gain_db: float = 20.0) -> None:
        self._times_s = {ue: scenario.sample_times_ns(ue) / 1e9 for ue in scenario.ue_ids}
        self._trajectories = {ue: scenario.trajectory(ue) for ue in scenario.ue_ids}
        self._model = model
        self._gain_db = gain_db
        self.noise_variance = np.ones(len(scenario.bs_ids))

    def pilots(self, ue: str, index: int, /) -> npt.NDArray[np.complex64]:
        position_m = self._trajectories[ue].position_in_world_m(self._times_s[ue][index : index + 1])[0]
        heard = self._model.pilots_at(position_m, gain_db=self._gain_db, shape=(2, 2, 4))
        return np.repeat(heard[None], len(self.noise_variance), axis=0)


def scenario_of(changes: Mapping[str, Any] | None = None, *, name: str = "test") -> Scenario:
    """A quiet second in Munich, with changes to the top-level keys."""
    return parse_scenario(dump({"name": name} | QUIET | dict(changes or {})))


def run_quietly(
    changes: Mapping[str, Any] | Scenario | None = None, out: Path | None = None, **arguments: Any
) -> RunResult:
    """Run a scenario with the test double and a channel that speaks to it."""
    scenario = changes if isinstance(changes, Scenario) else scenario_of(changes)
    model = arguments.pop("model", None) or GeometryModel(scenario.bs_ids)
    channel = arguments.pop("channel", None) or GeometryChannel(scenario, model)
    return run(scenario, out, model=model, channel=channel, **arguments)


def events_of(changes: Mapping[str, Any], kinds: str = "", **arguments: Any) -> list[str]:
    """The events of a run as text, all or those of the given kinds."""
    seen: list[Event] = []
    run_quietly(changes, listener=seen.append, **arguments)
    wanted = kinds.split()
    return [str(event) for event in seen if not wanted or event.kind in wanted]


def one_slow_link(**how: str) -> dict[str, Any]:
    """One UE a hundred times a second over two links; that of bs2 is too slow, with a queue of 200 bytes."""
    return {
        "deployment": TWO_BS,
        "duration": "60 ms",
        "ues": {"ue1": walking_from(80, "100 Hz")},
        "fronthaul": {
            "default": {"capacity": "10 Mbit/s", "latency": "1 ms"},
            "links": {"bs2": {"capacity": "100 kbit/s", "queue": "200 B", **how}},
        },
    }


def lines(text: str) -> list[str]:
    """The lines of an indented block."""
    return [line.strip() for line in text.strip().splitlines()]


def shipped_scenarios() -> list[Path]:
    """The scenario files that come with the project."""
    return sorted((ROOT / "scenarios").glob("*.yaml"))


def shipped_run(path: Path, **changes: Any) -> RunResult:
    """Run a shipped scenario with the test double: the fingerprint is that of the real run."""
    scenario = Scenario.load(path, **changes)
    return run_quietly(scenario, model=GeometryModel(scenario.bs_ids, dims=SHIPPED_DIMS, bits=10))
