"""CURVE: who is known comes in, and nobody else gets anything in or out."""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import zmq

import broker.control
from broker.bus import Forwarder, Publisher, Subscriber
from broker.control import Controlled, Controller
from broker.keys import Authenticator, Keys, KeysError, leaves_machine, load_keys, make_keys
from broker.part import Surroundings
from broker.rate import RateLimit
from broker.sequence import TransportLoss
from broker.service import BrokerService
from sim.parts import AirSocket

Context = zmq.Context[zmq.Socket[bytes]]
FRAME = (b"emb/bs1/ue1/", b"header", b"payload")
SILENCE_MS = 300


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_keys(tmp_path / "keys", ["broker", "cu", "bs1"])
    return tmp_path / "keys"


@pytest.fixture
def stranger(tmp_path: Path, folder: Path) -> Keys:
    """Has keys of her own, and knows all public ones."""
    make_keys(tmp_path / "other", ["bs1"])
    mine = load_keys(tmp_path / "other", "bs1")
    return Keys(mine.public, mine.secret, load_keys(folder, "bs1").known)


@pytest.fixture
def closes() -> Iterator[Callable[[Any], Any]]:
    """Close what is given at the end."""
    with ExitStack() as stack:

        def later(one: Any) -> Any:
            stack.callback(one.close, 0) if isinstance(one, Forwarder) else stack.callback(one.close)
            return one

        yield later


@pytest.fixture
def served(folder: Path) -> Iterator[Context]:
    """A context with an authenticator that knows the keys of the folder."""
    context: Context = zmq.Context()
    with Authenticator(context, load_keys(folder, "broker").known.values()):
        yield context
    context.destroy(linger=0)


def test_secrets_are_for_their_owner_alone(folder: Path) -> None:
    assert stat.S_IMODE((folder / "bs1.key").stat().st_mode) == 0o600
    assert set(load_keys(folder, "bs1").known) == {"world", "broker", "cu", "bs1"}
    assert load_keys(folder, "bs1").secret.decode() not in repr(load_keys(folder, "bs1"))
    assert make_keys(folder, ["bs1"]) == [], "keys that are there stay"
    (folder / "bs1.key").chmod(0o644)
    with pytest.raises(KeysError, match="others may read"):
        load_keys(folder, "bs1")


def test_whom_to_let_in_is_for_the_owner_alone_to_say(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        make_keys(tmp_path / "deep" / "keys", ["bs1"])
    finally:
        os.umask(before)
    folder = tmp_path / "deep" / "keys"
    for path in (folder, folder / "public", folder / "public" / "bs1.pub"):
        assert not path.stat().st_mode & 0o022
        load_keys(folder, "bs1")
        path.chmod(path.stat().st_mode | 0o020)
        with pytest.raises(KeysError, match="others may write here"):
            load_keys(folder, "bs1")
        path.chmod(path.stat().st_mode & ~0o022)


def test_keys_that_are_missing_or_damaged_are_one_line(folder: Path) -> None:
    with pytest.raises(KeysError, match=r"cu2\.key: No such file.*sim keys"):
        load_keys(folder, "cu2")
    (folder / "cu.key").write_bytes(b"no key")
    with pytest.raises(KeysError, match=r"cu\.key: damaged"):
        load_keys(folder, "cu")


def test_known_keys_carry_frames(
    folder: Path, served: Context, zmq_context: Context, closes: Callable[[Any], Any]
) -> None:
    endpoint = "tcp://127.0.0.1:*"
    forwarder = closes(Forwarder(served, endpoint, endpoint, keys=load_keys(folder, "broker")))
    publisher = closes(
        Publisher(zmq_context, forwarder.upstream, keys=load_keys(folder, "bs1"), beside=forwarder)
    )
    subscriber = closes(Subscriber(zmq_context, forwarder.downstream, keys=load_keys(folder, "cu")))
    publisher.wait_for_subscriber()
    forwarder.wait_for_subscriber()
    publisher.publish(FRAME)
    assert forwarder.receive_exactly(1) == [list(FRAME)]
    forwarder.forward(FRAME, 5)
    assert subscriber.receive_exactly(1)[0].parts == FRAME


@pytest.mark.parametrize("who", ["unknown key", "no key"])
def test_an_unknown_key_gets_nothing_in_or_out(
    who: str,
    folder: Path,
    stranger: Keys,
    served: Context,
    zmq_context: Context,
    closes: Callable[[Any], Any],
) -> None:
    keys = stranger if who == "unknown key" else None
    endpoint = "tcp://127.0.0.1:*"
    forwarder = closes(Forwarder(served, endpoint, endpoint, keys=load_keys(folder, "broker")))
    publisher = closes(Publisher(zmq_context, forwarder.upstream, keys=keys))
    subscriber = closes(Subscriber(zmq_context, forwarder.downstream, keys=keys))
    publisher.publish(FRAME)
    # The handshake that fails takes place while the forwarder is looked after.
    assert forwarder.receive(SILENCE_MS / 1000) == []
    with pytest.raises(TimeoutError):
        forwarder.wait_for_subscriber(timeout_s=SILENCE_MS / 1000)
    forwarder.forward(FRAME, 5)
    assert subscriber.receive(SILENCE_MS / 1000) == []


@pytest.fixture
def lied_to(
    folder: Path, served: Context, zmq_context: Context, closes: Callable[[Any], Any]
) -> tuple[Forwarder, Publisher]:
    """A forwarder, and a base station with a key of its own that says what is not its own."""
    endpoint = "tcp://127.0.0.1:*"
    forwarder = closes(Forwarder(served, endpoint, endpoint, keys=load_keys(folder, "broker")))
    liar = closes(Publisher(zmq_context, forwarder.upstream, keys=load_keys(folder, "bs1"), beside=forwarder))
    liar.wait_for_subscriber()
    return forwarder, liar


def test_a_key_speaks_for_its_own_base_station_alone(
    lied_to: tuple[Forwarder, Publisher],
) -> None:
    forwarder, liar = lied_to
    for topic in (b"emb/bs2/ue1/", b"emb/bs11/ue1/", b"emb/bs", b"emb//"):
        liar.publish((topic, *FRAME[1:]))
    liar.publish(FRAME)
    assert forwarder.receive_exactly(1) == [list(FRAME)]
    assert forwarder.refusals.by_cause == {"foreign_key": 4}


def test_whoever_says_what_it_may_not_is_not_listened_to_without_end(
    lied_to: tuple[Forwarder, Publisher],
    folder: Path,
    served: Context,
    zmq_context: Context,
    closes: Callable[[Any], Any],
) -> None:
    forwarder, liar = lied_to
    for _ in range(500):
        liar.publish((b"emb/bs2/ue1/", *FRAME[1:]))
    liar.publish(FRAME)
    looks, heard = 0, list[list[bytes]]()
    while not heard:
        heard = forwarder.receive(5.0, most=10)
        looks += 1
        assert forwarder.refusals.total <= 10 * looks
    assert heard == [list(FRAME)]
    controller = closes(Controller(served, "tcp://127.0.0.1:*", load_keys(folder, "world")))
    liar = closes(Controlled(zmq_context, controller.endpoint, "cu", load_keys(folder, "bs1")))
    for _ in range(3000):
        liar.report("hello")
    looks = 0
    while controller.refused < 3000:
        assert controller.receive(5.0) == []
        looks += 1
        assert controller.refused <= 1000 * looks


def test_control_takes_a_key_for_its_own_part_alone(
    folder: Path, stranger: Keys, served: Context, zmq_context: Context, closes: Callable[[Any], Any]
) -> None:
    controller = closes(Controller(served, "tcp://127.0.0.1:*", load_keys(folder, "world")))
    bs = closes(Controlled(zmq_context, controller.endpoint, "bs1", load_keys(folder, "bs1")))
    liar = closes(Controlled(zmq_context, controller.endpoint, "cu", load_keys(folder, "bs1")))
    unknown = closes(Controlled(zmq_context, controller.endpoint, "broker", stranger))
    for one in (liar, unknown, bs):
        one.report("hello")
    heard: list[tuple[str, str]] = []
    while controller.refused < 1 or not heard:
        heard += [(message.peer, message.kind) for message in controller.receive(5.0)]
    assert heard == [("bs1", "hello")]
    assert controller.refused == 1, "who has no known key is not even heard"
    assert controller.receive(SILENCE_MS / 1000) == []


def test_what_is_said_to_a_part_goes_to_its_key_alone(
    folder: Path, served: Context, zmq_context: Context, closes: Callable[[Any], Any]
) -> None:
    controller = closes(Controller(served, "tcp://127.0.0.1:*", load_keys(folder, "world")))
    unit = closes(Controlled(zmq_context, controller.endpoint, "cu", load_keys(folder, "cu")))
    unit.report("hello")
    assert [message.peer for message in controller.receive(5.0)] == ["cu"]
    with zmq_context.socket(zmq.DEALER) as liar:
        liar.linger = 0
        liar.setsockopt(zmq.IDENTITY, b"cu")
        load_keys(folder, "bs1").connect(liar, "world")
        liar.connect(controller.endpoint)
        liar.send(broker.control.pack("hello", 0, None))
        while controller.refused < 1:
            assert controller.receive(5.0) == []
        controller.send("cu", "welcome")
        assert unit.socket.poll(5_000)
        assert [message.kind for message in unit.receive()] == ["welcome"]
        assert not liar.poll(SILENCE_MS)


def test_nobody_uses_up_what_another_may_say(
    folder: Path,
    served: Context,
    zmq_context: Context,
    closes: Callable[[Any], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(broker.control, "RateLimit", lambda *_: RateLimit(0.001, 10))
    controller = closes(Controller(served, "tcp://127.0.0.1:*", load_keys(folder, "world")))
    liar = closes(Controlled(zmq_context, controller.endpoint, "cu", load_keys(folder, "bs1")))
    for _ in range(20):
        liar.report("hello")
    while controller.refused < 20:
        assert controller.receive(5.0) == []
    closes(Controlled(zmq_context, controller.endpoint, "cu", load_keys(folder, "cu"))).report("hello")
    assert [message.peer for message in controller.receive(5.0)] == ["cu"]


def test_a_part_that_begins_anew_is_reached_there(zmq_context: Context, closes: Callable[[Any], Any]) -> None:
    controller = closes(Controller(zmq_context, "tcp://127.0.0.1:*"))
    controller.send("bs1", "beat")  # nobody is there yet
    for _ in range(2):
        part = closes(Controlled(zmq_context, controller.endpoint, "bs1"))
        part.report("hello")
        assert [message.kind for message in controller.receive(5.0)] == ["hello"]
        controller.send("bs1", "welcome")
        assert part.socket.poll(5_000)
        assert [message.kind for message in part.receive()] == ["welcome"]


def test_a_part_that_says_too_much_is_not_read(
    zmq_context: Context, closes: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker.control, "MOST_PER_S", 0.001)
    monkeypatch.setattr(broker.control, "RateLimit", lambda rate_hz, _: RateLimit(rate_hz, 10))
    controller = closes(Controller(zmq_context, "tcp://127.0.0.1:*"))
    loud = closes(Controlled(zmq_context, controller.endpoint, "bs1"))
    for _ in range(50):
        loud.report("hello")
    heard = 0
    while heard + controller.refused < 50:
        heard += len(controller.receive(5.0))
    assert (heard, controller.refused) == (10, 40)
    closes(Controlled(zmq_context, controller.endpoint, "bs2")).report("hello")
    assert [message.peer for message in controller.receive(5.0)] == ["bs2"]


@pytest.mark.parametrize("who", ["known key", "unknown key", "no key"])
def test_the_air_is_for_known_keys_alone(
    who: str, folder: Path, stranger: Keys, served: Context, zmq_context: Context
) -> None:
    air = AirSocket(served, "tcp://127.0.0.1:*", load_keys(folder, "world"), bounded=True)
    keys = {"known key": load_keys(folder, "bs1"), "unknown key": stranger, "no key": None}[who]
    with zmq_context.socket(zmq.SUB) as ear:
        if keys is not None:
            keys.connect(ear, "world")
        ear.subscribe("air/bs1/")
        ear.connect(air.endpoint)
        if who == "known key":
            air.wait_for(["air/bs1/"], 10.0)
        else:
            with pytest.raises(TransportLoss):
                air.wait_for(["air/bs1/"], SILENCE_MS / 1000)
        air.publish_parts((b"air/bs1/ue1/", b"header", b"samples"))
        assert bool(ear.poll(5_000 if who == "known key" else SILENCE_MS)) is (who == "known key")
    air.close()


def test_a_broker_leaves_the_machine_with_keys_only(zmq_context: Context) -> None:
    welcome = {
        "run": "run1",
        "upstream": "tcp://0.0.0.0:*",
        "downstream": "tcp://127.0.0.1:*",
        "fronthaul": {},
        "overhead_bytes": 0,
        "deadline_ns": 0,
        "clock": None,
    }
    with pytest.raises(ValueError, match="needs keys"):
        BrokerService(Surroundings(zmq_context, None, welcome))


@pytest.mark.parametrize(
    ("endpoint", "leaves"),
    [
        ("ipc:///tmp/x", False),
        ("inproc://x", False),
        ("tcp://127.0.0.1:*", False),
        ("tcp://localhost:5", False),
        ("tcp://[::1]:5", False),
        ("tcp://*:5", True),
        ("tcp://0.0.0.0:5", True),
        ("tcp://10.0.0.1:*", True),
        ("tcp://eth0:5", True),
        ("tipc://{5560,0,0}", True),
        ("pgm://eth0;239.192.1.1:5", True),
    ],
)
def test_what_leaves_the_machine(endpoint: str, leaves: bool) -> None:
    assert leaves_machine(endpoint) is leaves
