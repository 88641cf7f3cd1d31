"""What carries: the frame, the fronthaul law, and the ZeroMQ bus."""

from broker.bus import Arrival, Bus, Forwarder, Publisher, Subscriber, Transport
from broker.counts import Counts
from broker.frame import (
    OVERHEAD_BYTES,
    Frame,
    FrameError,
    FrameLimits,
    decode_frame,
    encode_frame,
    wire_bits,
)
from broker.fronthaul import Fronthaul
from broker.law import (
    BernoulliLoss,
    Capacity,
    CapacityTrace,
    CrossTraffic,
    ExponentialJitter,
    FronthaulLaw,
    GilbertElliottLoss,
    Jitter,
    LognormalJitter,
    Loss,
    NoJitter,
    NoLoss,
    NormalJitter,
    UniformJitter,
)
from broker.link import UNCHANGED, FronthaulLink
from broker.packet import LAW_CAUSES, LINK_DOWN, LOSS, QUEUE_FULL, SUPERSEDED, Fate, Packet
from broker.refusals import Refusals
from broker.sequence import SequenceCheck, TransportLoss
from broker.streams import Draws, stream

__all__ = [
    "Arrival",
    "Bus",
    "Forwarder",
    "Publisher",
    "Subscriber",
    "Transport",
    "Counts",
    "OVERHEAD_BYTES",
    "Frame",
    "FrameError",
    "FrameLimits",
    "decode_frame",
    "encode_frame",
    "wire_bits",
    "Fronthaul",
    "BernoulliLoss",
    "Capacity",
    "CapacityTrace",
    "CrossTraffic",
    "ExponentialJitter",
    "FronthaulLaw",
    "GilbertElliottLoss",
    "Jitter",
    "LognormalJitter",
    "Loss",
    "NoJitter",
    "NoLoss",
    "NormalJitter",
    "UniformJitter",
    "UNCHANGED",
    "FronthaulLink",
    "LAW_CAUSES",
    "LINK_DOWN",
    "LOSS",
    "QUEUE_FULL",
    "SUPERSEDED",
    "Fate",
    "Packet",
    "Refusals",
    "SequenceCheck",
    "TransportLoss",
    "Draws",
    "stream",
]
