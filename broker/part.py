"""The loop of a part that runs in a process of its own: it says hello, is told what to do, and does it."""

import gc
import logging
import math
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

import zmq

from broker.control import Context, ControlError, Controlled
from broker.keys import Authenticator, Keys, load_keys
from broker.waiting import Waiter

HELLO_EVERY_S = 0.5
HINT_AFTER_S = 5.0
"""Without an answer from the world a part that somebody started by hand says what may be the matter."""
BEAT_EVERY_S = 0.2
WORLD_SILENT_S = 5.0
"""A part that hears nothing from the world for so long in real time starts over and says hello again."""

REPORT_AFTER_S = 0.005

_LOG = logging.getLogger(__name__)
Report = tuple[str, list[Any]]
"""Kind, and one entry for each thing that happened."""
FIRST = ("offered", "received")
"""Kinds that tell where something began."""


class WorldError(ValueError):
    """A world that cannot be connected to, or wants what cannot be had; the text is one clear line."""


class Part(Protocol):
    """What a process runs: a law with its sockets."""

    @property
    def sockets(self) -> Sequence[zmq.Socket[bytes]]:
        """Sockets whose messages `work` takes."""
        ...

    @property
    def attended(self) -> Sequence[zmq.Socket[bytes]]:
        """Sockets that must be looked after: a bound one meets a new peer only while somebody uses it."""
        ...

    def greeting(self) -> Any:
        """What the world must know when the part is ready."""
        ...

    def command(self, kind: str, body: Any) -> Any:
        """Do what the world asks; gives the answer. Raises what makes it impossible."""
        ...

    def wait_s(self) -> float | None:
        """How long until `work` has something to do without a message; None: until one comes."""
        ...

    def work(self) -> Iterator[Report]:
        """Take what has come and do what is due; gives reports to the world."""
        ...

    def beat(self) -> Any:
        """What to say of oneself with every heartbeat."""
        ...

    def close(self) -> None:
        """Close all sockets."""
        ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a part is given to be made of."""

    context: Context
    keys: Keys | None
    welcome: Mapping[str, Any]
    """The world's configuration of this part."""


def serve(
    name: str,
    world: str,
    make: Callable[[Surroundings], Part],
    *,
    keys_folder: Path | None = None,
    supervisor: int | None = None,
) -> int:
    """Run a part until the world says stop, or a signal does.

    Args:
        name: of the part.
        world: endpoint of the world's control socket.
        make: makes the part from what the world says in its welcome.
        keys_folder: with the part's keys, if it talks to other machines.
        supervisor: the parent process: the part ends when that does, also if it has before the part was here.

    Returns:
        The exit code.

    Raises:
        KeysError: its keys are missing or damaged.
        WorldError: `world` is no endpoint, or the part cannot be made as the world says.
    """
    keys = None if keys_folder is None else load_keys(keys_folder, name)
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, _end)
    context: Context = zmq.Context()
    with ExitStack() as stack:
        stack.callback(context.destroy, linger=200)
        if keys is not None:  # of the parts only the broker binds, but an authenticator hurts nobody
            stack.enter_context(Authenticator(context, keys.known.values()))
        while True:
            try:
                control = Controlled(context, world, name, keys)
            except zmq.ZMQError as error:
                raise WorldError(f"--world {world}: must be an endpoint like tcp://192.0.2.1:5700") from error
            try:
                if _life(name, control, context, keys, make, supervisor):
                    return 0
            finally:
                control.close()


def _life(
    name: str,
    control: Controlled,
    context: Context,
    keys: Keys | None,
    make: Callable[[Surroundings], Part],
    parent: int | None,
) -> bool:
    """From hello to the end of a run; whether the process should end with it."""
    welcome = _welcome(name, control, parent)
    if welcome is None:
        return True
    try:
        part = make(Surroundings(context, keys, welcome))
    except Exception as error:  # whatever it is, the world must know
        _LOG.debug("not ready", exc_info=True)
        said = str(error) or type(error).__name__
        control.report("failed", said)
        raise WorldError(f"{name}: cannot be what the world wants: {said}") from error
    try:
        gc.collect()
        gc.freeze()  # what is loaded by now makes no collection in the middle of a frame longer
        control.report("ready", part.greeting())
        return _work(control, part, bool(welcome.get("realtime")), parent)
    finally:
        part.close()


def _welcome(name: str, control: Controlled, parent: int | None) -> Mapping[str, Any] | None:
    """Say hello until the world answers; None when the parent is gone."""
    hint_s = monotonic() + HINT_AFTER_S if parent is None else math.inf
    while parent is None or os.getppid() == parent:
        control.report("hello", {"name": name, "pid": os.getpid()})
        if not control.socket.poll(round(1000 * HELLO_EVERY_S)):
            if monotonic() >= hint_s:
                hint_s = math.inf
                _LOG.warning("no answer yet: does the run go, has it a %s, and do the keys match?", name)
            continue
        for message in control.receive():
            if message.kind == "welcome":
                assert isinstance(message.body, dict)
                return message.body
            if message.kind == "stop":
                return None
    return None


def _work(control: Controlled, part: Part, realtime: bool, parent: int | None) -> bool:
    """Do what is asked and what is due."""
    waiter = Waiter((control.socket, *part.sockets), part.attended)
    reports = Reports(control)
    next_beat = heard = monotonic()
    while True:
        wait_s = part.wait_s()
        due = min(next_beat, reports.due_s)
        now = monotonic()
        wait_s = due - now if wait_s is None else min(wait_s, due - now)
        ready = waiter.wait(max(0.0, wait_s))
        if control.socket in ready:
            heard = monotonic()
            try:
                messages = control.receive()
            except ControlError as error:
                _LOG.warning("%s", error)
                messages = []
            for message in messages:
                if message.kind in ("stop", "welcome"):
                    return message.kind == "stop"
                if message.kind == "beat":
                    continue
                _answer(control, part, message.kind, message.number, message.body)
        for kind, body in part.work():
            reports.add(kind, body)
        now = monotonic()
        if now >= reports.due_s:
            reports.send()
        if now < next_beat:
            continue
        next_beat = now + BEAT_EVERY_S
        if realtime:
            control.report("beat", part.beat())
            if now - heard > WORLD_SILENT_S:
                _LOG.warning("the world has been silent for %g s", WORLD_SILENT_S)
                return False
        if parent is not None and os.getppid() != parent:
            return True


class Reports:
    """Reports to the world that travel together: what happened is stamped, so a few milliseconds are nothing.

    Reports of one kind are joined in their order. Those of `FIRST` go first: what became of a frame is told
    after it was offered or received.
    """

    def __init__(self, control: Controlled) -> None:
        self._control = control
        self._waiting: dict[str, list[Any]] = {}
        self.due_s = math.inf
        """When `send` is to be called, by the monotonic clock."""

    def add(self, kind: str, entries: list[Any]) -> None:
        """Have entries of a kind told soon."""
        if not self._waiting:
            self.due_s = monotonic() + REPORT_AFTER_S
        self._waiting.setdefault(kind, []).extend(entries)

    def send(self) -> None:
        """Tell what waits."""
        for kind, entries in sorted(self._waiting.items(), key=lambda report: report[0] not in FIRST):
            self._control.report(kind, entries)
        self._waiting, self.due_s = {}, math.inf


def _answer(control: Controlled, part: Part, kind: str, number: int, body: Any) -> None:
    try:
        control.report("done", part.command(kind, body), number)
    except Exception as error:  # whatever it is, the world must know
        _LOG.debug("%s failed", kind, exc_info=True)
        control.report("failed", f"{kind}: {str(error) or type(error).__name__}", number)


def _end(number: int, _: object) -> None:
    sys.exit(0)
