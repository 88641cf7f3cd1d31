"""Hosts apart: two base stations, a central unit and the world in network namespaces, CURVE on all cables."""

import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Thread

import pytest
import zmq

from broker.control import pack
from broker.keys import Keys, load_keys, make_keys
from tests.namespaces import Network, why_not
from tests.sim.kit import ROOT
from tests.sim.world_apart import CUT_S, END_S, MEND_S

WORLD, PORT = "10.77.0.1", 5700
HOSTS = {"bs1": "10.77.0.2/24", "bs2": "10.77.0.3/24", "cu": "10.77.0.4/24", "spy": "10.77.0.5/24"}
NOTICED_S, BACK_S = 1.5, 2.0
"""A silence of 0.8 s is a loss; a cable that is mended is used again within two seconds."""
ETH_P_ALL = 3


@pytest.fixture
def network() -> Iterator[Network]:
    """The world with a switch, and a cable to each host; bs1's lets 256 kbit/s out."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    with Network(["world", *HOSTS]) as network:
        network.switch("world", f"{WORLD}/24", HOSTS)
        network.bounded_patience()
        network.shape("bs1", "eth", 256_000, 1_600, 100_000)
        yield network


class Wire:
    """Listens to the switch."""

    def __init__(self, network: Network) -> None:
        self._socket = network.inside(
            "world", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        )
        self._socket.bind(("switch", 0))
        self._socket.settimeout(0.2)
        self.heard = bytearray()
        self._stop = Event()
        self._thread = Thread(target=self._listen, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._socket.close()

    def _listen(self) -> None:
        while not self._stop.is_set():
            try:
                self.heard += self._socket.recv(65_536)
            except TimeoutError:
                continue


def listening_ports(network: Network) -> list[int]:
    """TCP ports on which somebody listens in the world."""
    table = network.inside("world", lambda: Path("/proc/thread-self/net/tcp").read_text())
    rows = [line.split() for line in table.splitlines()[1:]]
    return sorted(int(row[1].split(":")[1], 16) for row in rows if row[3] == "0A")


def what_a_stranger_gets(network: Network, ports: list[int], keys: Keys | None) -> list[bytes]:
    """Subscribe to everything and say hello everywhere, with a key that nobody knows or with none."""

    def act() -> list[bytes]:
        got: list[bytes] = []
        with zmq.Context() as context, ExitStack() as stack:
            poller = zmq.Poller()
            for port in ports:
                for kind in (zmq.SUB, zmq.DEALER):
                    for server in ("world", "broker"):
                        one = stack.enter_context(context.socket(kind))
                        one.linger = 0
                        if keys is not None:
                            keys.connect(one, server)
                        if kind == zmq.SUB:
                            one.subscribe(b"")
                        else:
                            one.setsockopt(zmq.IDENTITY, b"bs2")
                        one.connect(f"tcp://{WORLD}:{port}")
                        if kind == zmq.DEALER:
                            one.send(pack("hello", 0, {"name": "bs2", "pid": 1}))
                        poller.register(one, zmq.POLLIN)
            for one, _ in poller.poll(1000):
                got += one.recv_multipart()
        return got

    return network.inside("spy", act)


@pytest.mark.netns
@pytest.mark.slow
@pytest.mark.timeout(180)
def test_hosts_apart_with_a_slow_and_a_cut_cable(network: Network, tmp_path: Path) -> None:
    make_keys(tmp_path / "keys", ["broker", "cu", "bs1", "bs2"])
    make_keys(tmp_path / "strange", ["bs2"])
    mine = load_keys(tmp_path / "strange", "bs2")
    stranger = Keys(mine.public, mine.secret, load_keys(tmp_path / "keys", "bs2").known)

    def start(host: str, *words: str, keys: list[str] | None = None) -> subprocess.Popen[str]:
        """A process on a host, which has the keys of its own parts only."""
        folder = tmp_path / f"keys-{host}"
        folder.mkdir(exist_ok=True)
        shutil.copytree(tmp_path / "keys" / "public", folder / "public", dirs_exist_ok=True)
        for name in keys or [host]:
            shutil.copy2(tmp_path / "keys" / f"{name}.key", folder)
        inside = ["ip", "netns", "exec", network.namespaces[host], sys.executable, "-m", *words]
        inside = [word.replace("KEYS", str(folder)) for word in inside]
        return subprocess.Popen(inside, cwd=ROOT, stdout=subprocess.PIPE, text=True)

    wire = Wire(network)
    place = ["--world", f"tcp://{WORLD}:{PORT}", "--keys", "KEYS"]
    world = start("world", "tests.sim.world_apart", "KEYS", WORLD, str(PORT), keys=["world", "broker"])
    parts = [
        start("world", "broker", *place, keys=["world", "broker"]),
        start("cu", "nodes", "cu", *place),
        start("bs1", "nodes", "bs", "--id", "bs1", *place),
        start("bs2", "nodes", "bs", "--id", "bs2", *place),
    ]
    said: list[str] = []
    try:
        assert world.stdout is not None
        for line in world.stdout:
            said.append(line.strip())
            if line == "now cut\n":
                network.ip("world", "link", "set", "to-bs2", "down")
                ports = listening_ports(network)
                assert len(ports) == 4
                for keys in (stranger, None):
                    assert what_a_stranger_gets(network, ports, keys) == []
            elif line == "now mend\n":
                network.ip("world", "link", "set", "to-bs2", "up")
        assert world.wait(20) == 0
        for part in parts:
            assert part.wait(20) == 0, "it ends with the run"
    finally:
        for process in (world, *parts):
            process.kill()
            process.communicate()
        wire.close()
    judge(said)
    assert network.delayed("bs1", "eth") > 3, "the token bucket had work to do"
    assert wire.heard.count(b"CURVE") >= 8, "all was heard"
    assert b"emb/" not in wire.heard
    assert b"air/" not in wire.heard
    assert b"hello" not in wire.heard


def judge(said: list[str]) -> None:
    """Hold what the world said to what it should have been; a world that lags may be as late again."""
    events = [line.split() for line in said if line[0].isdigit()]
    verdict, lag_s = said[-1].split()
    assert verdict == "valid"
    fixes = [(float(event[0]), event[3]) for event in events if event[1] == "fix"]
    lost_s = [float(event[0]) for event in events if event[1:3] == ["lost", "bs2"]]
    back_s = [float(event[0]) for event in events if event[1:3] == ["back", "bs2"]]
    busy_s = 2 * float(lag_s)

    def count(used: str, begin_s: float, end_s: float) -> int:
        return sum(begin_s < t_s < end_s and bs == used for t_s, bs in fixes)

    assert count("bs1,bs2", 0.0, CUT_S) > 10
    assert any(CUT_S < t_s < CUT_S + NOTICED_S + busy_s for t_s in lost_s)
    assert count("bs1", CUT_S + 1.0 + busy_s, MEND_S) > 10 or busy_s > 1.0
    assert count("bs1,bs2", CUT_S + 1.0 + busy_s, MEND_S) == 0, "nothing comes through a cut cable"
    assert any(MEND_S < t_s < MEND_S + BACK_S + busy_s for t_s in back_s)
    assert count("bs1,bs2", MEND_S, MEND_S + BACK_S + busy_s) > 0
    assert count("bs1,bs2", MEND_S + BACK_S, END_S + 1.0) > 10
