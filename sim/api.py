"""Run a scenario from Python."""

import errno
import gc
import logging
import os
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from broker.fronthaul import Fronthaul
from broker.sequence import TransportLoss
from nodes import Fuser, PositioningModel, SendPolicy
from sim.clock import NANOSECONDS_PER_SECOND
from sim.embeddings_ahead import EmbeddingsAhead, early_stations
from sim.embeddings_cache import embeddings_path, make_room, used, worth_keeping
from sim.errors import UserError
from sim.fingerprint import Event
from sim.foresight import ForesightedFuser
from sim.interruption import Interruption, interruption_in_charge
from sim.lagging import LaggingWorld, may_lag
from sim.metrics import Tables, summarise
from sim.record import Recorder, versions
from sim.run_folder import RunFolder, RunFolderError
from sim.scenario import Scenario
from sim.wire import BusWire, Wire
from sim.world import Channel, World, base_stations, run_id

RUNS_FOLDER = Path("runs")
ALLOCATED_BETWEEN_COLLECTIONS = 50_000
NO_MORE_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
"""What the system says when a folder that could be written can be no longer."""

_LOG = logging.getLogger(__name__)


class Watch(Protocol):
    """Follows a run on its own thread, sets its pace, and may intervene."""

    def begin(self, world: World) -> None:
        """The run starts."""
        ...

    def takes(self, topic: str, content: Mapping[str, Any], *, t_sample_ns: int, t_ns: int, seq: int) -> None:
        """A truth, fix, track or fault is recorded."""
        ...

    def passes(self, t_ns: int) -> None:
        """The next events are those of a time; they happen when this returns."""
        ...

    def end(self, summary: Mapping[str, Any]) -> None:
        """The run is over, one way or the other."""
        ...


class Hashes(Protocol):
    """The events of a run; see `sim.fingerprint.Fingerprint`."""

    @property
    def fingerprint(self) -> str:
        """Of times, entities, events, sizes and fates."""
        ...

    @property
    def digest(self) -> str:
        """Of the same and of contents."""
        ...

    @property
    def count(self) -> int:
        """How many there were."""
        ...


class Ended(Protocol):
    """A run that has ended, one way or the other: what its figures are made of, beside its tables."""

    @property
    def scenario(self) -> Scenario:
        """What was to happen."""
        ...

    @property
    def now_ns(self) -> int:
        """How far it has come."""
        ...

    @property
    def fronthaul(self) -> Fronthaul:
        """What carried the frames."""
        ...

    @property
    def events(self) -> Hashes:
        """What happened, as hashes."""
        ...

    @property
    def errors(self) -> list[str]:
        """Why its figures must not be believed."""
        ...

    @property
    def faults(self) -> list[dict[str, Any]]:
        """What went wrong on purpose."""
        ...

    @property
    def csi_bits(self) -> int:
        """Of one snapshot's CSI at one base station."""
        ...

    @property
    def fixes_revised(self) -> int:
        """Fixes that took the place of an earlier one of the same snapshot."""
        ...

    @property
    def snapshots_open(self) -> int:
        """Snapshots that have neither a fix nor passed their deadline."""
        ...


class InvalidRunError(RuntimeError):
    """A run whose frames do not add up; it is recorded, but its figures must not be believed."""


@dataclass(frozen=True, eq=False)
class RunResult:
    """What a run left behind.

    Attributes:
        folder: where it is; gone with this object if no `out` was named.
        summary: `summary.json`.
    """

    folder: RunFolder
    summary: dict[str, Any]

    @property
    def path(self) -> Path:
        """The run folder."""
        return self.folder.path

    @property
    def fixes(self) -> pa.Table:
        """One row per UE and snapshot; `.to_pandas()` gives a DataFrame."""
        return self.folder.table("fixes")

    @property
    def frames(self) -> pa.Table:
        """One row per frame; `.to_pandas()` gives a DataFrame."""
        return self.folder.table("frames")

    @property
    def fingerprint(self) -> str:
        """Hash of times, entities, events, sizes and fates."""
        return str(self.summary["fingerprint"])

    @property
    def digest(self) -> str:
        """The same with payload bits, fixes and tracks."""
        return str(self.summary["digest"])


def run(
    scenario: Scenario | str | Path,
    out: str | Path | None = None,
    *,
    policy: SendPolicy | None = None,
    channel: Channel | None = None,
    model: PositioningModel | None = None,
    wire: Wire | None = None,
    processes: bool = False,
    encoders: int = 0,
    cache: bool = True,
    listener: Callable[[Event], None] | None = None,
    progress: Callable[[int], None] | None = None,
    watch: Watch | None = None,
) -> RunResult:
    """Run a scenario in virtual time, as fast as the machine allows.

    However the run ends, what it has written by then is readable.

    Args:
        scenario: a scenario, or the path of its file.
        out: folder to write to, new or of an earlier run; None: one that lives as long as the result.
        policy: decides at each BS what is sent of a snapshot: gets a `nodes.Heard`, gives a `nodes.Payload`,
            or None to keep silent.
        channel: what the BSs hear instead of the scenario's traced channel.
        model: encodes and fuses instead of the scenario's model.
        wire: carries the frames instead of ZeroMQ sockets over the scenario's transport.
        processes: run the broker, each base station and the central unit as processes of their own, in
            lock-step; what comes out is the same.
        encoders: processes that make what base stations will hear, and encode it, ahead of time, beside this
            one; what comes out is the same. They are started anew from the caller's main module, which must
            allow that.
        cache: take what base stations make of a scenario of many snapshots from the user's cache, where an
            earlier run or study has left it, and leave it there; what comes out is the same. Not with a
            channel or model of one's own.
        listener: called with each event, in order.
        progress: called with the simulated time in ns, now and then.
        watch: follows the run; see `sim.live`.

    Raises:
        UserError: the scenario, its weights or its trace are wrong, or `out` cannot be used; nothing is
            written then.
        ValueError: encoders with a channel or model that they do not know, or a channel of other BSs.
        InvalidRunError: frames were lost where the fronthaul law had no part in it.
    """
    started = time.perf_counter()
    if not isinstance(scenario, Scenario):
        scenario = Scenario.load(scenario)
    if encoders and (channel is not None or model is not None):
        raise ValueError("encoders know the scenario's own channel and model only")
    own = channel is None and model is None
    model = model_at_home(scenario) if model is None else model
    kept = kept_embeddings(scenario, model) if cache and own and not processes else None
    if channel is None:
        channel = channel_behind(scenario, kept)
    elif np.shape(channel.noise_variance) != (len(scenario.bs_ids),):
        shape, wanted = np.shape(channel.noise_variance), len(scenario.bs_ids)
        raise ValueError(f"noise_variance of the channel is [{wanted}], one for each BS, not {shape}")
    stations = base_stations(scenario, model, policy)
    interruption = interruption_in_charge() or Interruption()
    with output_folder(out) as folder, ExitStack() as stack:
        make_world: Callable[..., World]
        fuser: Fuser | None = None
        if processes:
            make_world = stack.enter_context(world_of_processes(scenario, model, policy))
        else:
            foresee = policy is None and scenario.bs.policy.kind == "fixed"
            ahead = EmbeddingsAhead(scenario, channel, model, encoders, foresee=foresee, kept=kept)
            channel, stations = stack.enter_context(ahead), early_stations(scenario, model, ahead, policy)
            fuser = ForesightedFuser(model, ahead, scenario.bs_ids)
            carrier = wire or stack.enter_context(BusWire(scenario.transport, scenario.bs_ids))
            make_world = partial(World, wire=carrier)
            if watch is None and may_lag(scenario):
                make_world = partial(LaggingWorld, wire=carrier, unbroken=interruption.hold)
        stack.enter_context(interruption.hold())  # from here on the folder is there, and is to be closed
        recorder = stack.enter_context(
            Recorder(
                folder,
                scenario_yaml=scenario.to_yaml(),
                versions=versions(model.digest.hex()),
                headline=headline(scenario),
            )
        )
        world = make_world(
            scenario,
            channel=channel,
            stations=stations,
            model=model,
            recorder=recorder,
            listener=listener,
        )
        if fuser is not None:
            world.centre.unit.fuse_with(fuser)
        stack.enter_context(rare_collections())
        complete, cut_short = False, True
        if kept is not None:
            stack.callback(make_room, kept.parent)
        if watch is not None:
            world.listen(watch.takes)
            watch.begin(world)
        try:
            interruption.let_go()
            passes = both(watch.passes if watch is not None else None, progress)
            world.run(both(passes, lambda _: interruption.look()))
            complete, cut_short = not world.errors, False
        finally:
            interruption.held = True
            world.finish(cut_short=cut_short)
            recorder.close()
            wall_time_s = time.perf_counter() - started
            summary = recorder.finish(figures(world, folder, complete, wall_time_s))
            if watch is not None:
                watch.end(summary)
        interruption.look()
        if world.errors:
            raise InvalidRunError(f"{folder.path}: invalid: {world.errors[0]}")
    result = RunResult(folder, summary)
    if out is None:
        remove_with(result)
    return result


@contextmanager
def rare_collections() -> Iterator[None]:
    """Have the garbage collector look seldom: a run has no cycles, and thousands of objects on their way."""
    before = gc.get_threshold()
    gc.set_threshold(max(before[0], ALLOCATED_BETWEEN_COLLECTIONS) if before[0] else 0, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


@contextmanager
def world_of_processes(
    scenario: Scenario, model: PositioningModel, policy: SendPolicy | None
) -> Iterator[Callable[..., World]]:
    """A world whose parts are processes, which end with the context.

    Raises:
        UserError: a policy cannot travel to other processes, or one of them did not come up.
    """
    from sim.parts import Parts
    from sim.processes import ProcessWorld

    if policy is not None:
        raise UserError("a send policy runs in one process; leave processes away, or the policy")
    with Parts(scenario, model, run_id(scenario)) as parts:
        try:
            parts.start()
        except TransportLoss as error:
            raise UserError(f"the processes of the run did not start: {error}") from error
        yield partial(ProcessWorld, parts)


def both(
    one: Callable[[int], None] | None, other: Callable[[int], None] | None
) -> Callable[[int], None] | None:
    """Calls both, or the one that there is."""
    if one is None or other is None:
        return one or other

    def call(t_ns: int) -> None:
        one(t_ns)
        other(t_ns)

    return call


def headline(scenario: Scenario) -> dict[str, Any]:
    """What a summary says from the start."""
    return {"scenario": scenario.name, "description": scenario.description, "seed": scenario.seed}


def figures(world: Ended, folder: Tables, complete: bool, wall_time_s: float) -> dict[str, Any]:
    """The summary of a run that has ended, one way or the other."""
    end_ns = world.scenario.duration_ns if complete else world.now_ns
    utilisation = world.fronthaul.utilisation()
    return {
        "complete": complete,
        "valid": not world.errors,
        "errors": world.errors,
        "fingerprint": world.events.fingerprint,
        "digest": world.events.digest,
        "events": world.events.count,
        **summarise(folder, end_ns=end_ns, csi_bits=world.csi_bits),
        "fixes_revised": world.fixes_revised,
        "snapshots_open": world.snapshots_open,
        "csi_bits": world.csi_bits,
        "links": {
            name: {
                "sent": counts.sent,
                "delivered": counts.delivered,
                "in_flight": counts.in_flight,
                "dropped": dict(counts.dropped),
                "utilisation": utilisation[name],
            }
            for name, counts in world.fronthaul.link_counts().items()
        },
        "faults": world.faults,
        "sim_time_s": end_ns / NANOSECONDS_PER_SECOND,
        "wall_time_s": wall_time_s,
    }


def model_of(scenario: Scenario) -> PositioningModel:
    """The scenario's model; a path is looked for beside the scenario first.

    Raises:
        UserError: there is none of this name, or its weights are damaged.
    """
    from models.runtime import ModelError, load_model

    name: str | Path = scenario.model.name
    if scenario.folder is not None and (scenario.folder / name / "model.json").is_file():
        name = scenario.folder / name
    try:
        return load_model(name)
    except ModelError as error:
        raise UserError(str(error)) from error


def model_at_home(scenario: Scenario) -> PositioningModel:
    """As `model_of`; warns where the model was trained in another world than the scenario's."""
    from models.runtime import OnnxModel
    from sim.channel.errors import ChannelError

    model = model_of(scenario)
    if isinstance(model, OnnxModel) and model.description.world is not None:
        with suppress(ChannelError):  # whoever opens the channel says what is wrong with the scene
            if not _is_known(model.description.world, model.bs_ids, scenario):
                _LOG.warning(
                    "model '%s' was trained for another scene, other sites or another carrier: "
                    "its fixes mean little here",
                    scenario.model.name,
                )
    return model


def _is_known(trained_in: str, bs_ids: Sequence[str], scenario: Scenario) -> bool:
    """Whether base stations are where they were in the training, as far as a digest of its world can tell."""
    from sim.channel.world import world_of
    from sim.deployment import MUNICH6

    here, usual = world_of(scenario.deployment, scenario.folder), world_of(MUNICH6)
    if trained_in != usual.key():
        return set(here.bs_ids) < set(bs_ids) or trained_in == here.key()
    place = dict(zip(usual.bs_ids, usual.bs_position_m, strict=True))
    stay = all(place.get(bs) == at for bs, at in zip(here.bs_ids, here.bs_position_m, strict=True))
    alike = replace(here, bs_ids=usual.bs_ids, bs_position_m=usual.bs_position_m)
    return stay and alike.key() == trained_in


def channel_of(scenario: Scenario) -> Channel:
    """The scenario's channel, stored or traced now; raises UserError."""
    from sim.channel import open_channel

    return open_channel(scenario)


def kept_embeddings(scenario: Scenario, model: PositioningModel) -> Path | None:
    """Where the embeddings of a run are or will be kept; None if that is not worth it."""
    if not worth_keeping(scenario, model.dims):
        return None
    path = embeddings_path(scenario, model.digest)
    used(path)
    return path


def channel_behind(scenario: Scenario, kept: Path | None) -> Channel:
    """The scenario's channel; where its embeddings are kept, one that is opened when it is needed after all.

    Raises UserError if it is not to be had, at once or then.
    """
    return channel_of(scenario) if kept is None or not kept.exists() else LateChannel(scenario)


class LateChannel:
    """The channel of a scenario, opened when somebody listens.

    Args:
        scenario: whose channel.
    """

    def __init__(self, scenario: Scenario) -> None:
        from sim.channel.air import Air

        self.noise_variance = Air(scenario.deployment).noise_variance
        self._scenario = scenario

    @cached_property
    def _channel(self) -> Channel:
        return channel_of(self._scenario)

    def pilots(self, ue: str, index: int, /) -> npt.NDArray[np.complex64]:
        """See `sim.channel.Channel.pilots`; raises UserError."""
        return self._channel.pilots(ue, index)


@contextmanager
def output_folder(out: str | Path | None) -> Iterator[RunFolder]:
    """An empty run folder; removed again if what it was made for fails, one with a name only while empty.

    Raises:
        UserError: `out` cannot be used, or no longer: the disk is full, or the folder is gone.
    """
    path = Path(tempfile.mkdtemp(prefix="fronthaul-sim-")) if out is None else Path(out)
    is_new = not path.exists()
    folder = RunFolder.create(path)
    try:
        yield folder
    except BaseException as error:
        gone = not path.is_dir()
        if out is None:
            shutil.rmtree(path, ignore_errors=True)
        elif is_new:
            with suppress(OSError):  # whatever was written stays
                path.rmdir()
        if isinstance(error, OSError) and (error.errno in NO_MORE_WRITING or gone):
            why = os.strerror(error.errno or errno.EIO)
            raise RunFolderError(f"{path}: cannot be written any longer: {why}") from error
        raise


def remove_with(result: RunResult) -> None:
    """Remove a result's folder when the result itself goes."""
    weakref.finalize(result, shutil.rmtree, result.path, ignore_errors=True)


def next_run_folder(scenario: Scenario, runs: Path = RUNS_FOLDER) -> Path:
    """`runs/<scenario>-<number>`, the first number that is free."""
    number = 1
    while (runs / f"{scenario.name}-{number}").exists():
        number += 1
    return runs / f"{scenario.name}-{number}"
