"""Streams out: the latest of each topic to whoever looks, and nobody who does not look slows the run."""

import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import ExitStack
from typing import Any

import pytest
import zmq

from broker.counts import Counts
from sim.errors import UserError
from sim.streams_out import (
    Hub,
    Metrics,
    Reader,
    ZmqStream,
    link_states,
    mqtt_address,
    prometheus_text,
    streams_of,
)
from tests.sim.kit import ROOT


def track(ue: str, n: int) -> dict[str, Any]:
    return {"run": "run1", "ue": ue, "seq": n, "t_sample_s": n / 10, "bs_used": ["bs1"], "fix": True}


def test_a_reader_gets_the_latest_of_each_topic_and_counts_the_rest() -> None:
    hub = Hub("run1")
    reader = hub.reader("page", most=3)
    for n in range(100):
        for ue in ("ue1", "ue2"):
            hub.put(f"track/{ue}/", track(ue, n))
    updates = reader.take(0.0)
    assert [(one.topic, one.content["seq"]) for one in updates] == [("track/ue1/", 99), ("track/ue2/", 99)]
    assert reader.dropped == 198
    for n in range(5):
        hub.put(f"track/ue{n}/", track(f"ue{n}", n))
    assert [one.topic for one in reader.take(0.0)] == ["track/ue2/", "track/ue3/", "track/ue4/"]
    assert reader.dropped == 200
    assert hub.counts() == {"page": {"taken": 5, "dropped": 200}}


def test_a_reader_that_comes_later_knows_how_things_stand() -> None:
    hub = Hub("run1")
    hub.put("track/ue1/", track("ue1", 7))
    assert [one.content["seq"] for one in hub.reader("late").take(0.0)] == [7]


def test_a_reader_that_waits_is_woken_by_news_and_by_the_end() -> None:
    hub = Hub("run1")
    reader = hub.reader("one")
    found: list[list[Any]] = []

    def read() -> None:
        found.append(reader.take(30.0))
        found.append(reader.take(30.0))

    thread = threading.Thread(target=read)
    thread.start()
    hub.put("track/ue1/", track("ue1", 1))
    hub.close()
    thread.join(10.0)
    assert not thread.is_alive()
    assert [len(updates) for updates in found] == [1, 0]
    assert reader.closed


def test_the_zeromq_stream_and_its_plain_reader() -> None:
    hub = Hub("run1")
    stream = ZmqStream(hub, "tcp://127.0.0.1:*")
    script = ROOT / "docs" / "examples" / "read_tracks.py"
    reader = subprocess.Popen(
        [sys.executable, script, stream.endpoint, "1"], stdout=subprocess.PIPE, text=True
    )
    try:
        seen = False
        for n in range(600):  # PUB knows no handshake: say it until the reader has heard it
            hub.put("track/ue1/", track("ue1", n) | {"position_m": [1.0, 2.0, 3.0]})
            try:
                reader.wait(0.1)
                seen = True
                break
            except subprocess.TimeoutExpired:
                continue
        assert seen
        said, _ = reader.communicate()
        assert "ue1" in said
        assert "1.00" in said
    finally:
        reader.kill()
        reader.wait()
        stream.close()


def test_a_subscriber_that_never_reads_slows_nobody() -> None:
    hub = Hub("run1")
    stream = ZmqStream(hub, "tcp://127.0.0.1:*")
    with zmq.Context() as context, context.socket(zmq.SUB) as lazy:
        lazy.linger = 0
        lazy.rcvhwm = 1
        lazy.connect(stream.endpoint)
        lazy.subscribe("")
        for n in range(20_000):
            hub.put("track/ue1/", track("ue1", n))
        assert len(hub.latest()) == 1
    stream.close()


def test_a_subscription_as_long_as_a_film_is_cut_off() -> None:
    """ZeroMQ itself would take a hundred times its length of memory."""
    hub = Hub("run1")
    stream = ZmqStream(hub, "tcp://127.0.0.1:*")
    with zmq.Context() as context, context.socket(zmq.XSUB) as greedy:
        greedy.linger = 0
        with greedy.get_monitor_socket(zmq.EVENT_DISCONNECTED) as monitor:
            greedy.connect(stream.endpoint)
            greedy.send(b"\x01" + bytes(2000))
            assert monitor.poll(5_000)
            greedy.disable_monitor()
    stream.close()


def test_a_stream_does_not_leave_the_machine_by_itself() -> None:
    with pytest.raises(UserError, match=r"leaves this machine"):
        ZmqStream(Hub("run1"), "tcp://0.0.0.0:*")


def test_metrics_for_prometheus() -> None:
    hub = Hub("run1")
    hub.put("track/ue1/", track("ue1", 3))
    hub.links(
        [
            {
                "t_s": 1.0,
                "link": "bs1",
                "sent": 10,
                "delivered": 8,
                "in_flight": 1,
                "dropped": {"loss": 1},
                "utilisation": 0.25,
            }
        ]
    )
    hub.state({"fixes": 3, "lag_p99_seconds": None}, {"bs1": True, "cu": False})
    server = Metrics(hub, 0)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"http://127.0.0.1:{server.port}/", timeout=10)
    finally:
        server.close()
    assert text == prometheus_text(hub)
    lines = text.splitlines()
    assert "# TYPE fronthaul_link_frames_sent_total counter" in lines
    assert 'fronthaul_link_frames_dropped_total{link="bs1",cause="loss"} 1' in lines
    assert 'fronthaul_link_utilisation{link="bs1"} 0.25' in lines
    assert 'fronthaul_part_up{part="cu"} 0' in lines
    assert "fronthaul_fixes{} 3" in lines


def test_metrics_of_a_long_run_count_every_frame() -> None:
    hub = Hub("run1")
    counts = Counts(1_234_567, 1_234_566, 1, {}, 0, 0)
    hub.links(link_states({"bs1": counts}, {"bs1": 0.1}, 123_456.7))
    hub.put("track/ue1/", track("ue1", 1) | {"t_sample_s": 123_456.7})
    lines = prometheus_text(hub).splitlines()
    assert 'fronthaul_link_frames_sent_total{link="bs1"} 1234567' in lines
    assert 'fronthaul_link_utilisation{link="bs1"} 0.1' in lines
    assert 'fronthaul_track_sample_time_seconds{ue="ue1"} 123456.7' in lines


@pytest.mark.parametrize("header", [("Host", "evil.example"), ("Origin", "http://evil.example")])
def test_metrics_are_not_for_pages_from_elsewhere(header: tuple[str, str]) -> None:
    server = Metrics(Hub("run1"), 0)
    try:
        request = urllib.request.Request(f"http://127.0.0.1:{server.port}/metrics", headers=dict([header]))
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(request, timeout=10)
    finally:
        server.close()


def test_connections_that_say_nothing_are_so_many_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sim.streams_out.MOST_CONNECTIONS", 3)
    server = Metrics(Hub("run1"), 0)
    with ExitStack() as stack:
        stack.callback(server.close)
        address = ("127.0.0.1", server.port)
        silent = [stack.enter_context(socket.create_connection(address, timeout=10)) for _ in range(3)]
        with socket.create_connection(address, timeout=2) as another:
            assert another.recv(1) == b"", "it is closed at once"
        silent[0].close()
        for attempt in range(100):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=10).close()
                break
            except OSError:
                assert attempt < 99, "who leaves makes room"
                time.sleep(0.05)


@pytest.mark.parametrize(
    ("streams", "said"),
    [
        ({"mqtt": "nohost"}, "must be HOST:PORT"),
        ({"mqtt": "127.0.0.1:0"}, "a port from 1 to 65535"),
        ({"mqtt": "127.0.0.1:67419"}, "a port from 1 to 65535"),
        ({"mqtt": "127.0.0.1:" + 5000 * "9"}, "a port from 1 to 65535"),
        ({"mqtt": "mqtt://localhost:1883"}, "must be HOST:PORT"),
        ({"mqtt": "a..b:1883"}, "must be HOST:PORT"),
        ({"mqtt": 64 * "a" + ":1883"}, "must be HOST:PORT"),
        ({"mqtt": "::1:1883"}, "an IPv6 address in brackets"),
        ({"mqtt": "::1"}, "an IPv6 address in brackets"),
        ({"mqtt": "[::1]"}, "must be HOST:PORT"),
        ({"mqtt": "[]:1883"}, "must be HOST:PORT"),
        ({"mqtt": "[localhost]:1883"}, "an IPv6 address in brackets"),
        ({"zmq": "tcp://127.0.0.1:1:2"}, "cannot be bound"),
    ],
)
def test_a_stream_that_cannot_be_is_one_line(streams: dict[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said), streams_of(Hub("run1"), **streams):  # type: ignore[arg-type]
        pass


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:1883", ("127.0.0.1", 1883)),
        ("broker.example:65535", ("broker.example", 65535)),
        ("[::1]:1883", ("::1", 1883)),
        ("[fe80::1%lo]:1", ("fe80::1%lo", 1)),
    ],
)
def test_addresses_of_mqtt_brokers(text: str, address: tuple[str, int]) -> None:
    assert mqtt_address(text) == address


def test_a_broker_at_an_ipv6_address_is_connected_to() -> None:
    try:
        broker = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError as error:
        pytest.skip(f"there is no IPv6 here: {error}")
    with broker:
        broker.settimeout(10.0)
        with streams_of(Hub("run1"), mqtt=f"[::1]:{broker.getsockname()[1]}"):
            connection, _ = broker.accept()
            with connection:
                assert connection.recv(1) == b"\x10", "an MQTT client says CONNECT first"


def test_updates_travel_as_json() -> None:
    reader = Reader("one")
    assert json.dumps(track("ue1", 1))
    assert reader.take(0.0) == []
