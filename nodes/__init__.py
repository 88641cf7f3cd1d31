"""What would be deployed: base stations and the central unit, as laws that own neither clock nor socket."""

from nodes.base_station import BaseStation, Heard, Payload, PolicyError, SendPolicy
from nodes.central_unit import CentralUnit, CuCounts, Fix, Miss
from nodes.collector import Collector, Snapshot, Verdict
from nodes.cu_policy import CuPolicy
from nodes.fuser import Fuser
from nodes.positioning_model import Embedding, PositioningModel
from nodes.sequence import Gap
from nodes.tracker import Outcome, Track, Tracker, TrackerParams

__all__ = [
    "BaseStation",
    "CentralUnit",
    "Collector",
    "CuCounts",
    "CuPolicy",
    "Embedding",
    "Fix",
    "Fuser",
    "Gap",
    "Heard",
    "Miss",
    "Outcome",
    "Payload",
    "PolicyError",
    "PositioningModel",
    "SendPolicy",
    "Snapshot",
    "Track",
    "Tracker",
    "TrackerParams",
    "Verdict",
]
