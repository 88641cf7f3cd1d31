"""A base station as a process: hears `air/<bs>/`, publishes `emb/<bs>/<ue>/`."""

import heapq
import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from time import monotonic, sleep
from typing import Any

import zmq

from broker.admission import Admission
from broker.bus import MAX_PART_BYTES, Publisher
from broker.clock import WallClock
from broker.frame import Frame, FrameError, check_frame, frame_parts
from broker.part import Report, Surroundings
from broker.processor import stay_on, work_through
from broker.refusals import Refusals
from broker.sequence import TransportLoss
from broker.waiting import has_message
from nodes.air import MAX_ELEMENTS, Air, decode_air
from nodes.base_station import BaseStation, Embedded
from nodes.encoding import encode_together
from nodes.model_spec import model_from_spec, warm_up
from nodes.policy_spec import policy_from_plain

HANDOVER_TIMEOUT_S = 10.0
MOST_AIR_WAITING = 256
"""Messages a BS lets wait in real time; one that hangs does not fill the world's memory."""

MOST_AIR_PER_S = 5_000
"""Messages in real time; what is more is not even read."""

MOST_TOGETHER = 64
"""Snapshots embedded in one go."""
GATHER_S = 0.0003
GATHER_WITHIN_S = 0.002
"""What one instant brings comes in one rush: as long as less has come than at the instant before, a BS looks
for more, again and again for a while, and then embeds what there is."""

_NOBLOCK = int(zmq.NOBLOCK)

_LOG = logging.getLogger(__name__)


class Rush:
    """What one instant brings, as far as it has come."""

    def __init__(self) -> None:
        self._t_sample_ns = -1
        self._come = self._came_before = 0

    def saw(self, heard: Sequence[Air]) -> None:
        """More has come."""
        for air in heard:
            if air.t_sample_ns != self._t_sample_ns:
                self._t_sample_ns, self._came_before, self._come = air.t_sample_ns, self._come, 0
            self._come += 1

    @property
    def goes_on(self) -> bool:
        """Whether more can be expected: there is less of this instant than there was of the one before."""
        return self._come < self._came_before


class BaseStationService:
    """Embeds what it hears and publishes it when it is due.

    The welcome: run, bs, model, bits, dims, air (endpoint to hear), upstream (endpoint to publish to),
    stale_ns (older samples are not worth a frame), clock (its plan, or None in lock-step), core (to stay on,
    if there are fewer than parts).
    """

    def __init__(self, surroundings: Surroundings) -> None:
        welcome: Mapping[str, Any] = surroundings.welcome
        model = self._model = model_from_spec(welcome["model"])
        warm_up(model, str(welcome["bs"]))
        self.station = BaseStation(
            str(welcome["bs"]),
            model,
            str(welcome["run"]),
            bits=welcome["bits"],
            dims=welcome["dims"],
            policy=policy_from_plain(welcome.get("policy")),
        )
        self.station.up = bool(welcome.get("up", True))
        clock = welcome["clock"]
        self._clock = None if clock is None else WallClock.from_plan(clock)
        if clock is not None:
            work_through()
            if welcome.get("core") is not None:
                stay_on(int(welcome["core"]))
        self._stale_ns = int(welcome["stale_ns"])
        self.refusals = Refusals()
        self._admission = Admission(MOST_AIR_PER_S, 2 * MOST_AIR_PER_S)
        self.heard = self.stale = 0
        self._waiting: dict[tuple[str, int], Frame] = {}
        self._due: list[tuple[int, str, int]] = []
        self._rush = Rush()
        self._skipped: list[list[Any]] = []
        self._silent: list[list[Any]] = []
        self._air = surroundings.context.socket(zmq.SUB)
        self._air.set_hwm(0 if clock is None else MOST_AIR_WAITING)
        self._air.setsockopt(zmq.MAXMSGSIZE, 8 * MAX_ELEMENTS)
        self._air.setsockopt(zmq.RECONNECT_IVL, 50)
        self._air.setsockopt(zmq.RECONNECT_IVL_MAX, 500)
        self._air.linger = 0
        if surroundings.keys is not None:
            surroundings.keys.connect(self._air, "world")
        self._air.subscribe(f"air/{self.station.bs_id}/")
        self._air.connect(str(welcome["air"]))
        self._publisher = Publisher(surroundings.context, str(welcome["upstream"]), keys=surroundings.keys)
        assert self.station.payload.dims * 2 < MAX_PART_BYTES
        try:
            # In real time a broker that is away just now will be back; what is published before is lost.
            self._publisher.wait_for_subscriber(timeout_s=HANDOVER_TIMEOUT_S if clock is None else 0.5)
        except TimeoutError:
            if clock is None:
                self.close()
                raise

    @property
    def sockets(self) -> Sequence[zmq.Socket[bytes]]:
        """The air."""
        return (self._air,)

    def greeting(self) -> Any:
        """Nothing but that it is ready."""
        return None

    def command(self, kind: str, body: Any) -> Any:
        """In lock-step `publish` what is due, tell what is kept `silent`; else `up`, `down`, `begin`."""
        match kind:
            case "begin":
                self._clock = WallClock.from_plan(body, self._clock)
                return None
            case "silent":
                return self._kept_silent(body)
            case "publish":
                return self._publish_granted(*body)
            case "up":
                self.station.up = True
                return None
            case "down":
                self.station.up = False
                self._waiting.clear()
                self._due.clear()
                return None
        raise ValueError("no such command")

    @property
    def attended(self) -> Sequence[zmq.Socket[bytes]]:
        """None: all sockets connect."""
        return ()

    def wait_s(self) -> float | None:
        """Until a frame is due."""
        if self._clock is None or not self._due:
            return None
        return self._clock.seconds_until(self._due[0][0])

    def work(self) -> Iterator[Report]:
        """Embed what was heard, publish what is due."""
        self._hear()
        if self._clock is None:
            return
        while self._due and self._due[0][0] <= self._clock.now_ns():
            _, ue, seq = heapq.heappop(self._due)
            frame = self._waiting.pop((ue, seq), None)
            if frame is not None:
                now_ns = max(frame.t_publish_ns, self._clock.now_ns())
                self._publisher.publish(frame_parts(replace(frame, t_publish_ns=now_ns)))
        if self._skipped:
            yield "skipped", self._skipped
            self._skipped = []
        if self._silent:
            yield "silent", self._silent
            self._silent = []

    def beat(self) -> Any:
        """What was heard and not sent."""
        return {"heard": self.heard, "stale": self.stale, "refused": dict(self.refusals.by_cause)}

    def close(self) -> None:
        """Close both ends."""
        self._air.close()
        self._publisher.close(200)

    def _hear(self) -> None:
        """Take all that was heard, and embed it together."""
        heard = self._heard()
        self._rush.saw(heard)
        until_s = monotonic() + GATHER_WITHIN_S if heard and self._clock is not None else 0.0
        while self._rush.goes_on and len(heard) < MOST_TOGETHER and monotonic() < until_s:
            sleep(GATHER_S)
            more = self._heard()
            self._rush.saw(more)
            heard += more
        self._embed(heard)

    def _heard(self) -> list[Air]:
        """What has come, as far as it is as documented; the rest is counted by cause."""
        heard: list[Air] = []
        for _ in range(MOST_TOGETHER):
            if not has_message(self._air):
                break
            parts = self._air.recv_multipart(_NOBLOCK)
            try:
                heard.append(self._admitted(parts))
            except FrameError as error:
                self.refusals.refuse_message(error, parts[0])
        return heard

    def _admitted(self, parts: Sequence[bytes]) -> Air:
        """Read what was heard. Raises FrameError."""
        if self._clock is not None:
            self._admission.knock(b"air")
        air = decode_air(parts)
        if air.run != self.station.run:
            raise FrameError("other_run", f"air of run {air.run!r}")
        if air.bs != self.station.bs_id:
            raise FrameError("malformed", f"air of {air.bs!r}")
        if self._clock is not None:
            self._admission.enter(air.bs, air.ue, air.t_sample_ns, self._clock.now_ns())
        return air

    def _embed(self, heard: Sequence[Air]) -> None:
        """Embed what is worth it, and keep the frames until they are due."""
        self.heard += len(heard)
        alike: defaultdict[tuple[tuple[int, ...], float], list[Air]] = defaultdict(list)
        for air in heard:
            if self._clock is not None and self._clock.now_ns() - air.t_sample_ns > self._stale_ns:
                self.stale += 1
                self._skipped.append([air.ue, air.seq])
            elif self.station.up:
                alike[air.pilots.shape, air.noise_variance].append(air)
        for (_, noise_variance), airs in alike.items():
            try:
                pilots = [air.pilots for air in airs]
                embeddings = encode_together(self._model, self.station.bs_id, pilots, noise_variance)
            except ValueError as error:  # of another shape than the model's
                for air in airs:
                    self._refuse(FrameError("malformed", str(error)), air)
                continue
            snapshots = [
                Embedded(air.ue, air.seq, air.t_sample_ns, air.t_publish_ns, embedding)
                for air, embedding in zip(airs, embeddings, strict=True)
            ]
            for air, frame in self._framed(airs, snapshots):
                self._keep(air, frame)

    def _framed(
        self, airs: Sequence[Air], snapshots: Sequence[Embedded]
    ) -> Iterator[tuple[Air, Frame | None]]:
        """Frames of snapshots; what cannot be quantised is refused."""
        if self.station.sends_alike:
            try:
                frames = self.station.frames(snapshots)
            except ValueError:
                pass  # whose it is comes out one by one
            else:
                yield from zip(airs, frames, strict=True)
                return
        for air, one in zip(airs, snapshots, strict=True):
            try:
                frame = self.station.frame(one.ue, one.seq, one.t_sample_ns, one.embedding, one.t_publish_ns)
            except ValueError as error:  # cannot be quantised
                self._refuse(FrameError("malformed", str(error)), air)
            else:
                yield air, frame

    def _keep(self, air: Air, frame: Frame | None) -> None:
        if frame is None:
            self._silent.append([air.ue, air.seq])
            return
        try:
            check_frame(frame)  # samples may be finite, and what comes of them not
        except FrameError as error:
            self._refuse(error, air)
            return
        self._waiting[air.ue, air.seq] = frame
        if self._clock is not None:
            heapq.heappush(self._due, (air.t_publish_ns, air.ue, air.seq))

    def _refuse(self, error: FrameError, air: Air) -> None:
        self.refusals.refuse_message(error, f"air/{air.bs}/{air.ue}/".encode())

    def _publish_granted(
        self, publish: Sequence[tuple[str, int]], discard: Sequence[tuple[str, int]]
    ) -> None:
        """Publish these frames, in this order, as soon as all of them have been heard."""
        self._hear_all([(ue, seq) for ue, seq in (*publish, *discard)])
        for ue, seq in discard:
            del self._waiting[ue, seq]
        for ue, seq in publish:
            self._publisher.publish(frame_parts(self._waiting.pop((ue, seq))))

    def _kept_silent(self, heard: Sequence[tuple[str, int]]) -> list[list[Any]]:
        """Of which of these snapshots, once all have been heard, the policy sends nothing."""
        self._hear_all([(ue, seq) for ue, seq in heard])
        silent, self._silent = self._silent, []
        return silent

    def _hear_all(self, needed: Sequence[tuple[str, int]]) -> None:
        """Hear until all of these have been. Raises TransportLoss."""
        until = monotonic() + HANDOVER_TIMEOUT_S
        self._hear()
        while missing := [
            key for key in needed if key not in self._waiting and list(key) not in self._silent
        ]:
            if not self._air.poll(max(0, round(1000 * (until - monotonic())))):
                ue, seq = missing[0]
                raise TransportLoss(f"{self.station.bs_id} never heard {ue}#{seq}")
            self._hear()
