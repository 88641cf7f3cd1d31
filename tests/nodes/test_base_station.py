import numpy as np
import pytest

from broker.frame import decode_frame, encode_frame
from models.quantiser import GAUSSIAN_STEPS, dequantise, unpack
from models.testing import GeometryModel
from nodes.base_station import BaseStation, Heard, Payload

MODEL = GeometryModel(dims=24, bits=10)
PILOTS = MODEL.pilots_at([12.0, 34.0, 5.0], gain_db=17.0)


def test_frame_carries_the_quantised_latent_and_what_belongs_to_it() -> None:
    station = BaseStation("bs2", MODEL, "run7")
    frame = station.snapshot("ue1", None, 100, PILOTS, 1.0, 130)
    assert frame is not None
    assert (frame.run, frame.bs, frame.ue, frame.seq) == ("run7", "bs2", "ue1", 0)
    assert (frame.t_sample_ns, frame.t_publish_ns) == (100, 130)
    assert (frame.dims, frame.bits, frame.step) == (24, 10, MODEL.steps[1])
    assert frame.model == MODEL.digest
    assert frame.gain_db == pytest.approx(17.0, abs=1e-4)
    assert len(frame.payload) == 30
    latent = MODEL.encode("bs2", PILOTS, 1.0).latent
    sent = dequantise(unpack(frame.payload, 24, 10), 10, frame.step)
    np.testing.assert_allclose(sent, latent, atol=frame.step / 2 * 1.001)


def test_frame_is_the_same_after_the_wire() -> None:
    frame = BaseStation("bs1", MODEL, "run").snapshot("ue1", None, 0, PILOTS, 1.0, 5)
    assert frame is not None
    assert decode_frame(encode_frame(frame)) == frame


def test_each_ue_has_its_own_sequence_numbers() -> None:
    station = BaseStation("bs1", MODEL, "run")
    frames = [station.snapshot(ue, None, 0, PILOTS, 1.0, 0) for ue in ("ue1", "ue2", "ue1", "ue1", "ue2")]
    assert [frame.seq for frame in frames if frame] == [0, 0, 1, 2, 1]


def test_a_given_number_is_used_and_counted_on_from() -> None:
    station = BaseStation("bs1", MODEL, "run")
    frames = [station.snapshot("ue1", seq, 0, PILOTS, 1.0, 0) for seq in (None, 7, None)]
    assert [frame.seq for frame in frames if frame] == [0, 7, 8]


def test_a_bs_that_is_down_sends_and_counts_nothing() -> None:
    station = BaseStation("bs1", MODEL, "run")
    station.snapshot("ue1", None, 0, PILOTS, 1.0, 0)
    station.up = False
    assert station.snapshot("ue1", None, 1, PILOTS, 1.0, 1) is None
    station.up = True
    frame = station.snapshot("ue1", None, 2, PILOTS, 1.0, 2)
    assert frame is not None
    assert frame.seq == 1


def test_fewer_bits_and_dims_make_a_shorter_message_with_a_wider_step() -> None:
    station = BaseStation("bs3", MODEL, "run", bits=4, dims=9)
    frame = station.snapshot("ue1", None, 0, PILOTS, 1.0, 0)
    assert frame is not None
    assert (frame.bits, frame.dims, frame.payload_bits, len(frame.payload)) == (4, 9, 36, 5)
    assert frame.step == pytest.approx(MODEL.steps[2] * GAUSSIAN_STEPS[3] / GAUSSIAN_STEPS[9])


def test_payload_may_change_between_snapshots() -> None:
    station = BaseStation("bs1", MODEL, "run")
    station.payload = Payload(bits=2, dims=3)
    frame = station.snapshot("ue1", None, 0, PILOTS, 1.0, 0)
    assert frame is not None
    assert frame.payload_bits == 6
    with pytest.raises(ValueError, match="dims must be from 1 to 24, not 25"):
        station.payload = Payload(bits=2, dims=25)


def test_a_policy_sees_the_snapshot_and_decides() -> None:
    heard: list[Heard] = []

    def policy(snapshot: Heard) -> Payload | None:
        heard.append(snapshot)
        return None if snapshot.gain_db < 10 else Payload(bits=6, dims=12)

    station = BaseStation("bs1", MODEL, "run", policy=policy)
    weak = MODEL.pilots_at([0, 0, 0], gain_db=3.0)
    assert station.snapshot("ue1", None, 0, weak, 1.0, 0) is None
    frame = station.snapshot("ue1", None, 9, PILOTS, 1.0, 9)
    assert frame is not None
    assert (frame.seq, frame.bits, frame.dims) == (0, 6, 12)
    assert heard[1] == Heard("bs1", "ue1", 0, 9, frame.gain_db, Payload(bits=10, dims=24))


def test_a_policy_out_of_range_is_refused() -> None:
    station = BaseStation("bs1", MODEL, "run", policy=lambda _: Payload(bits=17, dims=1))
    with pytest.raises(ValueError, match="bits must be an integer from 1 to 16"):
        station.snapshot("ue1", None, 0, PILOTS, 1.0, 0)


def test_what_cannot_be_sent_is_refused() -> None:
    with pytest.raises(ValueError, match="bs9 is not a BS of the model: bs1, bs2"):
        BaseStation("bs9", MODEL, "run")
    with pytest.raises(ValueError, match="dims must be from 1 to 24, not 0"):
        BaseStation("bs1", MODEL, "run", dims=0)
    with pytest.raises(ValueError, match="bits must be"):
        BaseStation("bs1", MODEL, "run", bits=0)
    with pytest.raises(ValueError, match="NaN"):
        BaseStation("bs1", MODEL, "run").snapshot("ue1", None, 0, PILOTS * np.nan, 1.0, 0)
