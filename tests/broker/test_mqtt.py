"""MQTT against a real broker, and against one in process where there is none."""

import asyncio
import queue
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

import aiomqtt
import pytest

from broker.mqtt import MqttBridge

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
NO_MOSQUITTO = "mosquitto is not installed: apt-get install mosquitto"
Taken = list[tuple[str, bytes]]


class Source:
    """Something to publish, when there is."""

    def __init__(self) -> None:
        self.waiting: queue.Queue[tuple[str, bytes]] = queue.Queue()

    def take(self, wait_s: float) -> Taken:
        try:
            return [self.waiting.get(timeout=wait_s or 0.001)]
        except queue.Empty:
            return []


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Mosquitto:
    """The real one, as a child with a configuration of its own."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        self._config.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence false\n")
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        assert MOSQUITTO
        self._process = subprocess.Popen([MOSQUITTO, "-c", str(self._config)], stderr=subprocess.DEVNULL)
        reachable(self.port)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


AMQTT = """
import asyncio, sys
from amqtt.broker import Broker

async def serve(port):
    anonymous = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
    listener = {"type": "tcp", "bind": f"127.0.0.1:{port}"}
    broker = Broker({"listeners": {"default": listener}, "plugins": anonymous})
    await broker.start()
    await asyncio.Event().wait()

asyncio.run(serve(int(sys.argv[1])))
"""


class Amqtt:
    """The one in Python; it leaves sockets open, so it has an interpreter of its own."""

    def __init__(self) -> None:
        self.port = free_port()
        command = [sys.executable, "-W", "ignore", "-c", AMQTT, str(self.port)]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        reachable(self.port)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


def reachable(port: int, timeout_s: float = 20.0) -> None:
    until = monotonic() + timeout_s
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
            return
        except OSError:
            assert monotonic() < until, "the MQTT broker did not come up"
            threading.Event().wait(0.02)


def heard(port: int, topics: str, until: Callable[[dict[str, bytes]], bool]) -> dict[str, bytes]:
    """The last message of each topic, once they are as they should be."""

    async def listen() -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        async with aiomqtt.Client("127.0.0.1", port) as client:
            await client.subscribe(topics)
            async for message in client.messages:
                assert isinstance(message.payload, bytes)
                found[str(message.topic)] = message.payload
                if until(found):
                    break
        return found

    return asyncio.run(asyncio.wait_for(listen(), 30.0))


@pytest.fixture(params=[pytest.param("mosquitto", marks=pytest.mark.mosquitto), "amqtt"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Mosquitto | Amqtt]:
    if request.param == "mosquitto" and not shutil.which(
        "mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin"
    ):
        pytest.skip("mosquitto is not installed: apt-get install mosquitto")
    broker: Mosquitto | Amqtt
    if request.param == "mosquitto":
        broker = Mosquitto(tmp_path)
    else:
        pytest.importorskip("amqtt", reason="amqtt is not installed")
        broker = Amqtt()
    yield broker
    broker.stop()


def test_the_latest_is_retained_and_the_end_is_told(broker: Mosquitto | Amqtt) -> None:
    source = Source()
    with MqttBridge("127.0.0.1", broker.port, "run1", source.take) as bridge:
        for n in range(3):
            source.waiting.put(("track/ue1", b"%d" % n))
        found = heard(
            broker.port, "fronthaul/run1/#", lambda found: found.get("fronthaul/run1/track/ue1") == b"2"
        )
        # Who comes later is told the last state at once.
        again = heard(broker.port, "fronthaul/run1/#", lambda found: len(found) == 2)
    assert found["fronthaul/run1/status"] == b"online"
    assert again == {"fronthaul/run1/status": b"online", "fronthaul/run1/track/ue1": b"2"}
    assert bridge.connections == 1
    assert heard(broker.port, "fronthaul/run1/status", lambda found: bool(found)) == {
        "fronthaul/run1/status": b"ended"
    }


@pytest.mark.mosquitto
def test_a_broker_that_comes_back_is_used_again(tmp_path: Path) -> None:
    if MOSQUITTO is None:
        pytest.skip(NO_MOSQUITTO)
    broker, source = Mosquitto(tmp_path), Source()
    try:
        with MqttBridge("127.0.0.1", broker.port, "run1", source.take) as bridge:
            source.waiting.put(("track/ue1", b"1"))
            heard(broker.port, "fronthaul/run1/track/ue1", lambda found: bool(found))
            broker.stop()
            broker.start()
            until = monotonic() + 30.0
            while bridge.connections < 2 and monotonic() < until:
                threading.Event().wait(0.02)
            topic = "fronthaul/run1/track/ue1"
            heard(broker.port, topic, lambda found: found.get(topic) == b"1")  # told again
            source.waiting.put(("track/ue1", b"2"))
            heard(broker.port, topic, lambda found: found.get(topic) == b"2")
        assert bridge.connections == 2
    finally:
        broker.stop()


def test_a_broker_that_is_not_there_slows_nobody() -> None:
    source = Source()
    bridge = MqttBridge("127.0.0.1", free_port(), "run1", source.take)
    started = monotonic()
    bridge.close()
    assert monotonic() - started < 5.0
    assert bridge.connections == 0
