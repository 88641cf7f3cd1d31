"""One contract over inproc, ipc and tcp."""

from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import msgpack
import pytest
import zmq

from broker import (
    Bus,
    Forwarder,
    Frame,
    Publisher,
    SequenceCheck,
    Subscriber,
    Transport,
    TransportLoss,
    decode_frame,
    encode_frame,
)

TRANSPORTS: list[Transport] = ["inproc", "ipc", "tcp"]


def frame(seq: int, bs: str = "bs1", ue: str = "ue1", dims: int = 768) -> Frame:
    payload = bytes((dims * 10 + 7) // 8)
    return Frame("run1", bs, ue, seq, 0, 0, dims, 10, 0.1, 12.0, b"weights!", payload)


@pytest.fixture(params=TRANSPORTS)
def bus(request: pytest.FixtureRequest) -> Iterator[Bus]:
    with Bus(request.param) as bus:
        yield bus


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_first_frame_is_never_lost(
    transport: Transport, zmq_context: zmq.Context[zmq.Socket[bytes]]
) -> None:
    """A hundred times: connect, shake hands without sleeping, publish one frame, receive that frame."""
    for seq in range(100):
        with Bus(transport, zmq_context) as bus:
            publisher, subscriber = bus.publisher(), bus.subscriber()
            publisher.wait_for_subscriber("emb/bs1/ue1/")
            bus.forwarder.wait_for_subscriber("emb/bs1/ue1/")
            publisher.publish(encode_frame(frame(seq)))
            (parts,) = bus.forwarder.receive_exactly(1)
            bus.forwarder.forward(parts, 17)
            (arrival,) = subscriber.receive_exactly(1)
            assert decode_frame(arrival.parts) == frame(seq)
            assert arrival.t_arrival_ns == 17


def test_six_base_stations_and_a_central_unit(bus: Bus) -> None:
    publishers = {f"bs{k}": bus.publisher() for k in range(1, 7)}
    subscriber = bus.subscriber()
    for publisher in publishers.values():
        publisher.wait_for_subscriber()
    bus.forwarder.wait_for_subscriber()
    for seq in range(50):
        for bs, publisher in publishers.items():
            publisher.publish(encode_frame(frame(seq, bs)))
        received = [decode_frame(parts) for parts in bus.forwarder.receive_exactly(6)]
        assert {one.bs for one in received} == set(publishers)
        for one in received:
            bus.forwarder.forward(encode_frame(one), seq)
        arrivals = subscriber.receive_exactly(6)
        assert [decode_frame(arrival.parts) for arrival in arrivals] == received


def test_ten_thousand_frames_before_anybody_looks(bus: Bus) -> None:
    """High-water marks are off: nothing is dropped however far behind the receiver is."""
    publisher, subscriber = bus.publisher(), bus.subscriber()
    publisher.wait_for_subscriber()
    bus.forwarder.wait_for_subscriber()
    for seq in range(10_000):
        publisher.publish(encode_frame(frame(seq, dims=4)))
    for parts in bus.forwarder.receive_exactly(10_000):
        bus.forwarder.forward(parts, 0)
    arrivals = subscriber.receive_exactly(10_000)
    assert [decode_frame(arrival.parts).seq for arrival in arrivals] == list(range(10_000))


def test_receive_waits_for_the_first_and_takes_the_rest(bus: Bus) -> None:
    publisher, subscriber = bus.publisher(), bus.subscriber()
    publisher.wait_for_subscriber()
    bus.forwarder.wait_for_subscriber()
    assert bus.forwarder.receive(0.0) == []
    assert subscriber.receive(0.0) == []
    for seq in range(5):
        publisher.publish(encode_frame(frame(seq)))
    seqs: list[int] = []
    while len(seqs) < 5:
        for parts in bus.forwarder.receive(5.0):
            seqs.append(decode_frame(parts).seq)
            bus.forwarder.forward(parts, 0)
    assert seqs == list(range(5))
    received = 0
    while received < 5:
        received += len(subscriber.receive(5.0))


def test_a_frame_that_does_not_come_is_a_transport_loss(bus: Bus) -> None:
    publisher, subscriber = bus.publisher(), bus.subscriber()
    publisher.wait_for_subscriber()
    bus.forwarder.wait_for_subscriber()
    publisher.publish(encode_frame(frame(0)))
    with pytest.raises(TransportLoss, match="1 of 2 frames"):
        bus.forwarder.receive_exactly(2, timeout_s=0.1)
    with pytest.raises(TransportLoss, match="0 of 1 frames"):
        subscriber.receive_exactly(1, timeout_s=0.01)


def test_a_hole_in_what_was_forwarded_is_a_transport_loss(bus: Bus) -> None:
    """A stranger's socket plays a forwarder that loses its second frame."""
    subscriber = Subscriber(bus.context, bus.forwarder.downstream)
    bus.forwarder.wait_for_subscriber()
    for before in (0, 1, 3):
        bus.forwarder._forwarded[b"emb/bs1/ue1/"][:] = [before]
        bus.forwarder.forward(encode_frame(frame(before)), 0)
    with pytest.raises(TransportLoss, match="emb/bs1/ue1/: number 3 arrived, 2 was next"):
        subscriber.receive_exactly(3)
    subscriber.close()


def test_prefixes_select_and_a_slash_ends_a_name(bus: Bus) -> None:
    everything, one_ue = bus.subscriber(), bus.subscriber("emb/bs1/ue1/")
    bus.forwarder.wait_for_subscriber("emb/bs1/ue1/", subscribers=2)
    for seq, (bs, ue) in enumerate([("bs1", "ue1"), ("bs1", "ue10"), ("bs2", "ue1")]):
        bus.forwarder.forward(encode_frame(frame(seq, bs, ue)), seq)
    assert [arrival.t_arrival_ns for arrival in everything.receive_exactly(3)] == [0, 1, 2]
    assert [arrival.t_arrival_ns for arrival in one_ue.receive_exactly(1)] == [0]
    assert one_ue.receive(0.0) == []


def test_who_comes_late_begins_with_the_next_frame(bus: Bus) -> None:
    early = bus.subscriber()
    bus.forwarder.wait_for_subscriber()
    bus.forwarder.forward(encode_frame(frame(0)), 0)
    late = bus.subscriber()
    bus.forwarder.wait_for_subscriber(subscribers=2)
    bus.forwarder.forward(encode_frame(frame(1)), 1)
    assert [arrival.t_arrival_ns for arrival in late.receive_exactly(1)] == [1]
    assert [arrival.t_arrival_ns for arrival in early.receive_exactly(2)] == [0, 1]


def test_nobody_subscribes(bus: Bus) -> None:
    with pytest.raises(TimeoutError, match=r"no 1 subscribers to 'emb/' within 0\.01 s"):
        bus.forwarder.wait_for_subscriber(timeout_s=0.01)
    bus.subscriber("emb/bs2/")
    bus.forwarder.wait_for_subscriber("emb/bs2/ue1/")
    with pytest.raises(TimeoutError):
        bus.forwarder.wait_for_subscriber("emb/bs1/ue1/", timeout_s=0.01)


@pytest.mark.parametrize("transport", ["ipc", "tcp"])
def test_ends_in_other_threads(transport: Transport, zmq_context: zmq.Context[zmq.Socket[bytes]]) -> None:
    """As in other processes: each end has its own context and knows only the endpoint."""
    count = 500

    def base_station(endpoint: str) -> None:
        context = zmq.Context()
        publisher = Publisher(context, endpoint)
        publisher.wait_for_subscriber()
        for seq in range(count):
            publisher.publish(encode_frame(frame(seq)))
        publisher.close()
        context.term()

    seqs: list[int] = []

    def central_unit(endpoint: str) -> None:
        context = zmq.Context()
        subscriber = Subscriber(context, endpoint)
        seqs.extend(decode_frame(arrival.parts).seq for arrival in subscriber.receive_exactly(count))
        subscriber.close()
        context.term()

    with Bus(transport, zmq_context) as bus:
        threads = [
            Thread(target=central_unit, args=[bus.forwarder.downstream]),
            Thread(target=base_station, args=[bus.forwarder.upstream]),
        ]
        for thread in threads:
            thread.start()
        bus.forwarder.wait_for_subscriber()
        for k, parts in enumerate(bus.forwarder.receive_exactly(count)):
            bus.forwarder.forward(parts, k)
        for thread in threads:
            thread.join(10.0)
    assert seqs == list(range(count))


@pytest.mark.parametrize(
    "garbage",
    [
        [b"emb/bs1/ue1/"],
        [b"emb/bs1/ue1/", b"", b""],
        [b"emb/bs1/ue1/", b"", b"", b""],
        [b"emb/bs1/ue1/", b"", b"", b"\xc1"],
        [b"emb/bs1/ue1/", b"", b"", msgpack.packb(17)],
        [b"emb/bs1/ue1/", b"", b"", msgpack.packb([17, 0, 0])],
        [b"emb/bs1/ue1/", b"", b"", msgpack.packb([17, None])],
        [b"emb/bs1/ue1/", b"", b"", msgpack.packb([1.5, 0])],
        [b"emb/bs1/ue1/", b"", b"", bytes(1000)],
    ],
)
def test_garbage_downstream_is_refused_and_counted(
    garbage: list[bytes], zmq_context: zmq.Context[zmq.Socket[bytes]], caplog: pytest.LogCaptureFixture
) -> None:
    with Bus("inproc", zmq_context) as bus:
        subscriber = bus.subscriber()
        bus.forwarder.wait_for_subscriber()
        bus.forwarder._to_subscribers.send_multipart(garbage)
        bus.forwarder.forward(encode_frame(frame(0)), 17)
        assert [arrival.t_arrival_ns for arrival in subscriber.receive_exactly(1)] == [17]
        assert subscriber.refusals.total == 1
    assert "refused a frame from emb/bs1: " in caplog.text


def test_ipc_leaves_no_files_and_tcp_stays_on_the_machine() -> None:
    with Bus("ipc") as bus:
        folder = Path(bus.forwarder.upstream.removeprefix("ipc://")).parent
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()
    with Bus("tcp") as bus:
        assert bus.forwarder.upstream.startswith("tcp://127.0.0.1:")


def test_unknown_transport() -> None:
    with pytest.raises(ValueError, match="must be inproc, ipc or tcp"):
        Bus("udp")  # type: ignore[arg-type]


def test_a_folder_too_deep_for_a_socket_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("deep" * 25)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with pytest.raises(OSError, match="cannot bind ipc://"):
        Bus("ipc")
    assert list(deep.iterdir()) == []


def test_an_endpoint_already_taken_leaves_nothing_open(zmq_context: zmq.Context[zmq.Socket[bytes]]) -> None:
    with Bus("tcp", zmq_context) as bus, pytest.raises(OSError, match="cannot bind tcp://127"):
        Forwarder(zmq_context, "tcp://127.0.0.1:*", bus.forwarder.downstream)


def test_sequence_numbers_follow_each_other() -> None:
    check = SequenceCheck()
    for source in (("bs1", "ue1"), ("bs2", "ue1")):
        for number in range(3):
            check.saw(source, number)
    with pytest.raises(TransportLoss, match="bs1/ue1: number 5 arrived, 3 was next"):
        check.saw(("bs1", "ue1"), 5)
    with pytest.raises(TransportLoss, match="number 2 arrived, 3 was next"):
        check.saw(("bs2", "ue1"), 2)
    with pytest.raises(TransportLoss, match="number 1 arrived, 0 was next"):
        check.saw(("bs3", "ue1"), 1)


def test_a_late_comer_begins_where_it_begins() -> None:
    check = SequenceCheck(late_join=True)
    check.saw("bs1", 40)
    check.saw("bs1", 41)
    with pytest.raises(TransportLoss):
        check.saw("bs1", 43)


def test_late_comers_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.sequence.MAX_SOURCES", 2)
    check = SequenceCheck(late_join=True)
    for source in ("bs1", "bs2", "bs3"):
        check.saw(source, 7)
    check.saw("bs1", 3)  # forgotten: begins anew
    with pytest.raises(TransportLoss):
        check.saw("bs3", 9)
