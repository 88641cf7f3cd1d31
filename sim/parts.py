"""The parts of a run as processes of their own: started, greeted, told what to do, watched and ended.

The world binds the control socket and the air; the broker binds the two ends of the bus. Every part connects
to the world, says hello, and is told the rest in a welcome, so a part may come, go and come back at any time
and from anywhere.
"""

import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Self

import zmq

from broker.bus import MAX_SUBSCRIPTION_BYTES, MOST_RECEIVED, send_parts
from broker.clock import Plan
from broker.control import Context, Controller, Message, answers
from broker.keys import Authenticator, Keys, KeysError, leaves_machine, load_keys
from broker.plain import plain_from_tree
from broker.sequence import TransportLoss
from nodes import PositioningModel
from nodes.air import Air, encode_air
from nodes.model_spec import spec_of
from sim.centre import cu_policy, tracker_params
from sim.clock import ns_from_s
from sim.errors import UserError
from sim.policies import link_of
from sim.reports import BROKER, CU, is_proper
from sim.scenario import Scenario
from sim.scenario.policy import DeltaPolicy, FilePolicy, FitPolicy, InnovationPolicy

START_TIMEOUT_S = 60.0
ANSWER_TIMEOUT_S = 30.0
END_TIMEOUT_S = 0.7
"""So long a part may take to end by itself before it is killed."""

_LOG = logging.getLogger(__name__)
_ROOT = Path(__file__).resolve().parents[1]


class PartDied(TransportLoss):
    """A process of the run has ended by itself, where none may."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the sockets of a run are bound.

    Attributes:
        control: the world's control socket.
        air: where the world publishes what base stations hear.
        upstream: the broker's end for base stations.
        downstream: the broker's end for the central unit.
    """

    control: str
    air: str
    upstream: str
    downstream: str

    @classmethod
    def on(
        cls, transport: str, folder: Path, host: str = "127.0.0.1", port: int | None = None
    ) -> "Endpoints":
        """Endpoints over a transport: files in a private folder, or free ports."""
        names = ("control", "air", "up", "down")
        if transport == "tcp":
            ports = ("*" if port is None else str(port), "*", "*", "*")
            return cls(*(f"tcp://{host}:{one}" for one in ports))
        return cls(*(f"ipc://{folder}/{name}" for name in names))


@dataclass(slots=True)
class Peer:
    """A part as the world sees it."""

    name: str
    command: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    ready: bool = False
    heard_s: float = 0.0
    """When it was last heard, by the monotonic clock."""
    beat: Any = None
    """What it last said of itself."""
    pid: int = 0
    starts: int = 0
    greeted_s: float = field(default=0.0)


class Parts:
    """All parts of a run, and the way to them; a context manager that leaves no process behind.

    Args:
        scenario: configures them.
        model: what they load; see `nodes.model_spec`.
        run: identity of the run.
        clock: plan of the clock in real time; None in lock-step.
        keys_folder: CURVE keys; needed as soon as an endpoint leaves the machine.
        host: address to bind to.
        port: of the control socket; the system chooses one if absent.
        spawn: names of the parts to start here; None for all. Others are waited for.
    """

    def __init__(
        self,
        scenario: Scenario,
        model: PositioningModel,
        run: str,
        *,
        clock: Plan | None = None,
        keys_folder: Path | None = None,
        host: str = "127.0.0.1",
        port: int | None = None,
        spawn: Sequence[str] | None = None,
    ) -> None:
        self.scenario = scenario
        self.run = run
        self.clock = clock
        self._model_spec = spec_of(model, scenario.model.name)
        self._stack = ExitStack()
        self._stopped_s: float | None = None
        self._transport = (
            "ipc" if host == "127.0.0.1" and port is None and scenario.transport != "tcp" else "tcp"
        )
        self._host, self._port = host, port
        if leaves_machine(f"tcp://{host}:*") and keys_folder is None:
            raise UserError(f"{host}: leaves this machine, which needs --keys; see python -m sim keys")
        self._keys_folder = keys_folder
        for bs in scenario.bs_ids:
            plain_policy(scenario, bs)
        names = (BROKER, CU, *scenario.bs_ids)
        self.peers = {name: Peer(name, self._command(name)) for name in names}
        self.spawned = names if spawn is None else tuple(spawn)
        self.tracks: dict[str, Any] = {}
        """What the central unit last knew of each UE, plain: what it resumes from."""
        self.down: set[str] = set()
        """Base stations that are down on purpose."""
        self.refused = 0
        """Reports that were none, or not of whoever made them."""

    def __enter__(self) -> Self:
        try:
            self._open()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> None:
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="fronthaul-")))
        if self._transport == "ipc" and len(os.fsencode(folder / "control")) > zmq.IPC_PATH_MAX_LEN:
            too_long = f"too long a path for sockets, of at most {zmq.IPC_PATH_MAX_LEN} bytes; set TMPDIR"
            raise UserError(f"{folder}: {too_long} to a shorter one")
        self.endpoints = Endpoints.on(self._transport, folder, self._host, self._port)
        context: Context = zmq.Context()
        self._stack.callback(context.destroy, linger=0)
        keys: Keys | None = None
        if self._keys_folder is not None:
            try:
                keys = load_keys(self._keys_folder, "world")
            except KeysError as error:
                raise UserError(str(error)) from error
            self._stack.enter_context(Authenticator(context, keys.known.values()))
        self.own_keys = keys
        try:
            self.control = Controller(context, self.endpoints.control, keys)
            self._stack.callback(self.control.close)
            self.air = AirSocket(context, self.endpoints.air, keys, bounded=self.clock is not None)
            self._stack.callback(self.air.close)
        except zmq.ZMQError as error:
            where = self._host if self._port is None else f"{self._host}, port {self._port}"
            raise UserError(f"{where}: cannot be bound: {error.strerror}") from error
        self.endpoints = Endpoints(
            self.control.endpoint, self.air.endpoint, self.endpoints.upstream, self.endpoints.downstream
        )
        self._stack.callback(self._end_all)

    def stop(self) -> None:
        """Ask all parts to end, without waiting for it."""
        self._stopped_s = monotonic()
        for peer in self.peers.values():
            self.control.send(peer.name, "stop")

    def close(self) -> None:
        """End all processes and close all sockets; may be called twice."""
        self._stack.close()

    # Coming.

    def start(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Start all parts and wait until each is ready and hears the next.

        Raises:
            PartDied: one of them ended instead.
            TransportLoss: not all came in time.
        """
        for name in self.spawned:
            self.spawn(name)
        until = monotonic() + timeout_s
        while not all(peer.ready for peer in self.peers.values()):
            self.beat()
            for message in self.heard(0.25):
                if message.kind == "failed":
                    raise TransportLoss(f"{message.peer}: {message.body}")
                self.greet(message)
            self.alive()
            if monotonic() > until:
                missing = [name for name, peer in self.peers.items() if not peer.ready]
                raise TransportLoss(f"{', '.join(missing)} did not come within {timeout_s:g} s")
        self.ask({BROKER: ("await", timeout_s)})
        self.air.wait_for([f"air/{bs}/" for bs in self.scenario.bs_ids], timeout_s)

    def heard(self, timeout_s: float) -> list[Message]:
        """Wait for the first report, then take all that are there and as they should be."""
        found = []
        for message in self.control.receive(timeout_s):
            if message.peer not in self.peers:
                continue
            if is_proper(message):
                found.append(message)
            else:
                self.refused += 1
        return found

    def beat(self) -> None:
        """Let all that are there know that the world is."""
        for peer in self.peers.values():
            if peer.ready:
                self.control.send(peer.name, "beat")

    def spawn(self, name: str) -> None:
        """Start a part's process."""
        peer = self.peers[name]
        peer.command = self._command(name)
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
        options = ["--world", self.endpoints.control, "--supervised", str(os.getpid()), *self._keys_option()]
        peer.process = subprocess.Popen(
            [*peer.command, *options],
            env=os.environ | threads | {"PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the world alone
        )
        peer.pid, peer.ready = peer.process.pid, False
        peer.starts += 1

    def greet(self, message: Message) -> bool:
        """Let a part in that says hello or is ready; whether the message was one of these."""
        peer = self.peers.get(message.peer)
        if peer is None:
            return False
        peer.heard_s = monotonic()
        if message.kind == "hello":
            peer.ready = False
            peer.pid = int(message.body.get("pid", 0))
            # Hellos that were waiting in the socket are one part, not several.
            is_new = monotonic() - peer.greeted_s > 0.3
            welcome = self._welcome(peer.name) if is_new else None
            if welcome is not None:
                peer.greeted_s = monotonic()
                self.control.send(peer.name, "welcome", welcome)
            return True
        if message.kind != "ready":
            return False
        peer.ready = True
        if peer.name == BROKER:
            self.endpoints = Endpoints(
                self.endpoints.control,
                self.endpoints.air,
                message.body["upstream"],
                message.body["downstream"],
            )
        return True

    def _welcome(self, name: str) -> dict[str, Any] | None:
        """What a part is told; None while it is too early."""
        scenario = self.scenario
        common = {"run": self.run, "clock": self.clock, "realtime": self.clock is not None}
        if name == BROKER:
            tree, attach = scenario.fronthaul.laws()
            return common | {
                "upstream": self.endpoints.upstream,
                "downstream": self.endpoints.downstream,
                "fronthaul": {"tree": plain_from_tree(tree), "attach": attach, "seed": scenario.seed},
                "overhead_bytes": round(scenario.fronthaul.overhead),
                "deadline_ns": cu_policy(scenario).deadline_ns,
            }
        if self.endpoints.upstream.endswith("*"):
            return None
        if name == CU:
            policy, tracker = cu_policy(scenario), tracker_params(scenario)
            return common | {
                "model": self._model_spec,
                "policy": {name: getattr(policy, name) for name in policy.__slots__},
                "tracker": {name: getattr(tracker, name) for name in tracker.__slots__},
                "expected": list(scenario.bs_ids),
                "downstream": self.endpoints.downstream,
                "tracks": list(self.tracks.values()),
            }
        message = scenario.model.message_of(name)
        return common | {
            "bs": name,
            "model": self._model_spec,
            "bits": message.bits,
            "dims": message.dims,
            "policy": plain_policy(scenario, name),
            "up": name not in self.down,
            "air": self.endpoints.air,
            "upstream": self.endpoints.upstream,
            "stale_ns": cu_policy(scenario).deadline_ns,
            "core": self._core_of(name),
        }

    def _core_of(self, name: str) -> int | None:
        """Where a base station that was started here does its work, if there are fewer cores than parts.

        Left alone, the system moves parts to and fro that are woken by the same instant.
        """
        if name not in self.spawned or (os.cpu_count() or 1) >= len(self.spawned):
            return None
        return self.scenario.bs_ids.index(name)

    # Doing.

    def ask(self, requests: Mapping[str, tuple[str, Any]]) -> dict[str, Any]:
        """Ask several parts at once and wait for all their answers.

        Raises:
            TransportLoss: one of them cannot, died or does not answer.
        """
        numbers = {self.control.send(name, *request): name for name, request in requests.items()}
        found = answers(self.control, numbers, ANSWER_TIMEOUT_S, self.alive)
        return {numbers[number]: body for number, body in found.items()}

    def alive(self) -> None:
        """Raises PartDied when a process that was started here has ended."""
        for name, code in self.ended():
            raise PartDied(f"the process of {name} has ended by itself, exit code {code}")

    def ended(self) -> Iterator[tuple[str, int]]:
        """Names and exit codes of processes that were started here and are no more."""
        for name, peer in self.peers.items():
            if peer.process is not None and (code := peer.process.poll()) is not None:
                yield name, code

    def _command(self, name: str) -> list[str]:
        if name == BROKER:
            return [sys.executable, "-m", "broker"]
        return [sys.executable, "-m", "nodes", *(["cu"] if name == CU else ["bs", "--id", name])]

    def _keys_option(self) -> list[str]:
        return [] if self._keys_folder is None else ["--keys", str(self._keys_folder)]

    # Going.

    def _end_all(self) -> None:
        """Ask all to stop; those that have not after a while are killed, stopped ones too."""
        processes = [peer.process for peer in self.peers.values() if peer.process is not None]
        if self._stopped_s is None:
            self.stop()
        until = (self._stopped_s or 0.0) + END_TIMEOUT_S
        for process in processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, until - monotonic()))
        for process in processes:
            process.kill()  # nothing, for one that has been waited for
        for process in processes:
            process.wait()


class AirSocket:
    """Publishes what base stations hear.

    Args:
        context: whose socket to use.
        endpoint: to bind; `endpoint` names a port that the system chose.
        keys: the world's, if it leaves the machine.
        bounded: let only so much wait for a BS that does not listen.
    """

    def __init__(self, context: Context, endpoint: str, keys: Keys | None, *, bounded: bool) -> None:
        self._socket = context.socket(zmq.XPUB)
        self._socket.set_hwm(256 if bounded else 0)
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_SUBSCRIPTION_BYTES)
        self._socket.setsockopt(zmq.XPUB_VERBOSER, 1)
        self._socket.linger = 0
        if keys is not None:
            keys.serve(self._socket)
        self._socket.bind(endpoint)
        self.endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self._topics: set[str] = set()

    def wait_for(self, topics: Sequence[str], timeout_s: float) -> None:
        """Wait until somebody is subscribed to each topic. Raises TransportLoss."""
        until = monotonic() + timeout_s
        while not self._topics >= set(topics):
            if not self._socket.poll(max(0, round(1000 * (until - monotonic())))):
                raise TransportLoss(f"nobody hears {', '.join(sorted(set(topics) - self._topics))}")
            self._note(self._socket.recv())

    def publish(self, air: Air) -> None:
        """Let a BS hear something."""
        self.publish_parts(encode_air(air))

    def publish_parts(self, parts: Sequence[bytes]) -> None:
        """Let a BS hear anything."""
        send_parts(self._socket, parts)

    def tidy(self) -> None:
        """Take what came back on the socket: who subscribed."""
        try:
            for _ in range(MOST_RECEIVED):
                self._note(self._socket.recv(zmq.NOBLOCK))
        except zmq.Again:
            return

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _note(self, message: bytes) -> None:
        topic = message[1:].decode(errors="replace")
        if message[:1] == b"\x01":
            self._topics.add(topic)
        else:
            self._topics.discard(topic)


def plain_policy(scenario: Scenario, bs: str) -> dict[str, Any] | None:
    """The congestion control of a BS, as its process is told.

    Raises:
        UserError: it is one of the user's own, which does not travel: programs are never sent.
    """
    wanted = scenario.bs.policy
    if isinstance(wanted, FitPolicy):
        link = asdict(link_of(scenario, bs, ns_from_s(wanted.reserve)))
        return {"kind": "fit", "link": link, "min_bits": wanted.min_bits}
    if isinstance(wanted, InnovationPolicy):
        every_ns = ns_from_s(wanted.at_least_every)
        acceleration_mps2 = scenario.tracker.acceleration
        plain = {"bound_m": wanted.bound, "at_least_every_ns": every_ns}
        return {"kind": "innovation", "acceleration_mps2": acceleration_mps2, **plain}
    if isinstance(wanted, DeltaPolicy):
        every_ns = ns_from_s(wanted.at_least_every)
        return {"kind": "delta", "bound": wanted.bound, "at_least_every_ns": every_ns}
    if isinstance(wanted, FilePolicy):
        raise UserError("bs.policy: one of your own runs in one process only, without --processes")
    return None
