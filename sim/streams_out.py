"""Streams out: tracks, links and failures for whoever looks, without ever slowing the run.

Everything goes through a hub. A reader has a queue of its own, of bounded length: what does not fit any more
pushes out the oldest of its kind, and is counted.
"""

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv6Address
from typing import Any

import zmq

from broker.bus import MAX_SUBSCRIPTION_BYTES
from broker.counts import Counts
from broker.keys import leaves_machine
from broker.mqtt import MqttBridge
from nodes import Fix, Miss
from sim.errors import UserError
from sim.scenario import Scenario

MOST_WAITING = 1024
MOST_CONNECTIONS = 128
"""At a time, for metrics; each holds a thread of the run."""
HOST_AND_PORT = re.compile(r"(?:\[([^\[\]]+)\]|([^\[\]:/\s]+)):([0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class Update:
    """One thing to tell: on which topic, and what, as JSON could carry it."""

    topic: str
    content: Mapping[str, Any]


class Reader:
    """What one consumer has not taken yet: the latest of each topic, and all failures.

    A newer update of a topic replaces an older one that was not taken; that is counted as dropped.
    """

    def __init__(self, name: str, most: int = MOST_WAITING) -> None:
        self.name = name
        self.dropped = 0
        self.taken = 0
        self._most = most
        self._waiting: OrderedDict[str, Update] = OrderedDict()
        self._there = threading.Condition()
        self._closed = False

    def put(self, update: Update) -> None:
        """Add an update; never waits."""
        with self._there:
            if update.topic in self._waiting:
                self.dropped += 1
            elif len(self._waiting) >= self._most:
                self._waiting.popitem(last=False)
                self.dropped += 1
            self._waiting[update.topic] = update
            self._there.notify()

    def take(self, timeout_s: float | None = None) -> list[Update]:
        """Wait for updates and take all of them; none after the timeout, or when the hub has closed."""
        with self._there:
            if not self._waiting and not self._closed:
                self._there.wait(timeout_s)
            updates = list(self._waiting.values())
            self._waiting.clear()
            self.taken += len(updates)
        return updates

    @property
    def closed(self) -> bool:
        """Whether nothing more will come."""
        return self._closed

    def close(self) -> None:
        """Wake whoever waits: nothing more will come."""
        with self._there:
            self._closed = True
            self._there.notify_all()


class Hub:
    """Where the world puts what is new, and readers take it.

    Args:
        run: identity of the run.
    """

    def __init__(self, run: str) -> None:
        self.run = run
        self.last: dict[str, Update] = {}
        """The latest update of each topic."""
        self._readers: list[Reader] = []
        self._lock = threading.Lock()
        self._faults = 0

    def reader(self, name: str, most: int = MOST_WAITING) -> Reader:
        """A new reader, which begins with the latest of each topic."""
        reader = Reader(name, most)
        with self._lock:
            for update in self.last.values():
                reader.put(update)
            self._readers.append(reader)
        return reader

    def leave(self, reader: Reader) -> None:
        """A reader is not interested any more."""
        with self._lock:
            if reader in self._readers:
                self._readers.remove(reader)
        reader.close()

    def put(self, topic: str, content: Mapping[str, Any]) -> None:
        """Tell all readers."""
        update = Update(topic, content)
        with self._lock:
            self.last[topic] = update
            for reader in self._readers:
                reader.put(update)

    def track(self, result: Fix | Miss, done_ns: int, scenario: Scenario) -> None:
        """A UE has a new fix, or none."""
        track = result.track
        content: dict[str, Any] = {
            "run": self.run,
            "ue": result.ue,
            "seq": result.seq,
            "t_sample_s": result.t_sample_ns / 1e9,
            "t_fix_s": result.t_fix_ns / 1e9,
            "t_done_s": done_ns / 1e9,
            "fix": isinstance(result, Fix),
            "bs_used": list(result.bs_used) if isinstance(result, Fix) else [],
        }
        if isinstance(result, Fix):
            content |= {
                "fix_position_m": result.position_m.tolist(),
                "fix_covariance_m2": result.covariance_m2.ravel().tolist(),
                "ages_s": {bs: age / 1e9 for bs, age in result.ages_ns.items()},
            }
        if track is not None:
            content |= {
                "position_m": track.position_m.tolist(),
                "velocity_mps": track.velocity_mps.tolist(),
                "covariance_m2": track.covariance[:3, :3].ravel().tolist(),
                "coasting": track.coasting,
            }
        self.put(f"track/{result.ue}/", content)

    def links(self, states: Sequence[Mapping[str, Any]]) -> None:
        """How the links are."""
        for state in states:
            self.put(f"link/{state['link']}/", {"run": self.run, **state})

    def fault(self, entry: Mapping[str, Any]) -> None:
        """Something failed, or works again."""
        self.put(f"fault/{entry['target']}/", {"run": self.run, **entry})

    def state(self, figures: Mapping[str, Any], parts: Mapping[str, bool]) -> None:
        """How the run itself is: figures by name, and which parts are there."""
        self.put("run/state/", {"run": self.run, "figures": dict(figures), "parts": dict(parts)})

    def latest(self) -> dict[str, Update]:
        """The latest of each topic."""
        with self._lock:
            return dict(self.last)

    def counts(self) -> dict[str, dict[str, int]]:
        """What each reader took and what it missed."""
        with self._lock:
            return {one.name: {"taken": one.taken, "dropped": one.dropped} for one in self._readers}

    def close(self) -> None:
        """Nothing more will come."""
        with self._lock:
            for reader in self._readers:
                reader.close()


def link_states(
    counts: Mapping[str, Counts], utilisation: Mapping[str, float], t_s: float
) -> list[dict[str, Any]]:
    """What `Hub.links` takes, of each segment."""
    return [
        {
            "t_s": t_s,
            "link": name,
            "sent": count.sent,
            "delivered": count.delivered,
            "in_flight": count.in_flight,
            "dropped": dict(count.dropped),
            "utilisation": utilisation.get(name, 0.0),
        }
        for name, count in counts.items()
    ]


class ZmqStream:
    """Publishes every update on a ZeroMQ PUB socket: topic, and JSON with a running number `n`.

    A subscriber that does not keep up misses updates, which its numbers tell; nobody waits for it.

    Args:
        hub: where updates come from.
        endpoint: to bind; `endpoint` names a port that the system chose.

    Raises:
        UserError: it cannot be bound, or leaves the machine.
    """

    WAITING = 256

    def __init__(self, hub: Hub, endpoint: str) -> None:
        if leaves_machine(endpoint):
            raise UserError(f"--zmq {endpoint}: leaves this machine; bind it to 127.0.0.1")
        self._hub = hub
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.PUB)
        self._socket.set_hwm(self.WAITING)
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_SUBSCRIPTION_BYTES)  # all that comes in on it
        self._socket.linger = 100
        try:
            self._socket.bind(endpoint)
        except zmq.ZMQError as error:
            self._context.destroy(linger=0)
            raise UserError(f"--zmq {endpoint}: cannot be bound: {error.strerror}") from None
        self.endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self._reader = hub.reader("zmq")
        self._thread = threading.Thread(target=self._publish, name="zmq-stream", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop publishing."""
        self._hub.leave(self._reader)
        self._thread.join(2.0)
        self._context.destroy(linger=100)

    def _publish(self) -> None:
        number = 0
        while True:
            updates = self._reader.take(None)
            if not updates and self._reader.closed:
                return
            for update in updates:
                body = json.dumps({"n": number, **update.content}).encode()
                self._socket.send_multipart([update.topic.encode(), body])
                number += 1


class _MetricsServer(ThreadingHTTPServer):
    """As of the library, which lets any number in."""

    daemon_threads = True

    def __init__(self, *arguments: Any) -> None:
        self._free = threading.Semaphore(MOST_CONNECTIONS)
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own, or close it at once."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()


class Metrics:
    """Serves the state of a run to Prometheus, on loopback.

    Args:
        hub: what is known.
        port: of 127.0.0.1; 0 takes a free one, `port` names it.
    """

    def __init__(self, hub: Hub, port: int) -> None:
        def answer() -> str:
            return prometheus_text(hub)

        def hosts() -> list[str]:
            return [f"{name}:{self.port}" for name in ("127.0.0.1", "localhost")]

        class Handler(BaseHTTPRequestHandler):
            timeout = 5.0

            def do_GET(self) -> None:
                if self.headers.get("Host") not in hosts() or self.headers.get("Origin") is not None:
                    self.send_error(403)  # a page from elsewhere, or under a name that it has rebound
                    return
                if self.path != "/metrics":
                    self.send_error(404)
                    return
                body = answer().encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: Any) -> None:
                """Say nothing."""

        try:
            self._server = _MetricsServer(("127.0.0.1", port), Handler)
        except OSError as error:
            raise UserError(f"--metrics {port}: cannot be bound: {error.strerror}") from error
        self.port = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="metrics", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(2.0)


def prometheus_text(hub: Hub) -> str:
    """What is known, in Prometheus' text format."""
    families: dict[str, tuple[str, list[str]]] = {}

    def add(name: str, kind: str, value: float, **labels: str) -> None:
        quoted = ",".join(f'{key}="{text}"' for key, text in labels.items())
        lines = families.setdefault(f"fronthaul_{name}", (kind, []))[1]
        lines.append(f"fronthaul_{name}{{{quoted}}} {value:.15g}")

    for topic, update in hub.latest().items():
        kind, name = topic.split("/")[:2]
        content = update.content
        if kind == "link":
            for fate in ("sent", "delivered"):
                add(f"link_frames_{fate}_total", "counter", content[fate], link=name)
            for cause, count in content["dropped"].items():
                add("link_frames_dropped_total", "counter", count, link=name, cause=cause)
            add("link_frames_in_flight", "gauge", content["in_flight"], link=name)
            add("link_utilisation", "gauge", content["utilisation"], link=name)
        elif kind == "track":
            add("track_sample_time_seconds", "gauge", content["t_sample_s"], ue=name)
            add("track_base_stations", "gauge", len(content["bs_used"]), ue=name)
        elif kind == "run":
            for key, value in content["figures"].items():
                if value is not None:
                    add(key, "gauge", value)
            for part, up in content["parts"].items():
                add("part_up", "gauge", float(up), part=part)
    for reader, counts in hub.counts().items():
        add("stream_dropped_total", "counter", counts["dropped"], stream=reader)
    return "".join(
        f"# TYPE {name} {kind}\n" + "".join(f"{line}\n" for line in lines)
        for name, (kind, lines) in families.items()
    )


@contextmanager
def streams_of(
    hub: Hub, zmq: str | None = None, mqtt: str | None = None, metrics: int | None = None
) -> Iterator[list[str]]:
    """The streams that are wanted; gives one line about each.

    Raises:
        UserError: an endpoint is wrong or taken.
    """
    lines = []
    with ExitStack() as stack:
        stack.callback(hub.close)
        if zmq is not None:
            stream = ZmqStream(hub, zmq)
            stack.callback(stream.close)
            lines.append(f"tracks and links: {stream.endpoint}")
        if mqtt is not None:
            host, port = mqtt_address(mqtt)
            reader = hub.reader("mqtt")
            bridge = MqttBridge(host, port, hub.run, lambda wait_s: mqtt_updates(reader, wait_s))
            stack.callback(bridge.close)
            lines.append(f"tracks: mqtt://{mqtt}, topics fronthaul/{hub.run}/#")
        if metrics is not None:
            server = Metrics(hub, metrics)
            stack.callback(server.close)
            lines.append(f"metrics: http://127.0.0.1:{server.port}/metrics")
        yield lines


def mqtt_address(text: str) -> tuple[str, int]:
    """Host and port of ``HOST:PORT``, an IPv6 address without its brackets; raises UserError."""
    match = HOST_AND_PORT.fullmatch(text)
    try:
        if match is None or not 0 < int(match[3]) < 65536:
            raise ValueError
        if match[1] is not None:
            return str(IPv6Address(match[1])), int(match[3])
        match[2].encode("idna")  # as it is looked up; a name with empty or long labels is none
        return match[2], int(match[3])
    except ValueError as error:
        raise UserError(
            f"--mqtt {text}: must be HOST:PORT, with a port from 1 to 65535 and an IPv6 address in brackets"
        ) from error


def mqtt_updates(reader: Reader, wait_s: float) -> list[tuple[str, bytes]]:
    """Updates as MQTT carries them."""
    return [
        (update.topic.strip("/"), json.dumps(dict(update.content)).encode()) for update in reader.take(wait_s)
    ]
