"""Air v1: what one base station hears of one UE at one time, on its way from a radio to the BS's process.

Three parts: topic `air/<bs>/<ue>/`, header (msgpack array, version first: run, bs, ue, seq, t_sample_ns,
t_publish_ns, noise variance, slots, antennas, subcarriers), and the pilots as little-endian complex64 in
that order of axes. The world writes it; a radio front end can. In docs/deployment.md.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgpack
import numpy as np
import numpy.typing as npt

from broker.frame import FrameError, header_fields, is_name

VERSION = 1
MAX_TOPIC_BYTES = 160
MAX_HEADER_BYTES = 384
MAX_ELEMENTS = 1 << 20
MAX_HELD_NS = 10_000_000_000
"""A BS keeps a frame for so long at most before it is to be published."""
_INT64 = 1 << 63


@dataclass(frozen=True, slots=True, eq=False)
class Air:
    """Pilots of one UE as heard by one BS."""

    run: str
    bs: str
    ue: str
    seq: int
    t_sample_ns: int
    t_publish_ns: int
    """When the BS is to publish its frame: the sample plus the modelled processing."""
    noise_variance: float
    """Of one resource element, in the unit of the pilots squared."""
    pilots: npt.NDArray[np.complex64]
    """``[num_slots, num_ant, num_sc]``"""

    @property
    def topic(self) -> str:
        """The name a BS filters by."""
        return f"air/{self.bs}/{self.ue}/"


def encode_air(air: Air) -> tuple[bytes, bytes, bytes]:
    """Topic, header and samples."""
    assert air.pilots.ndim == 3, f"pilots are [num_slots, num_ant, num_sc], not {air.pilots.shape}"
    header: bytes = msgpack.packb(
        (
            VERSION,
            air.run,
            air.bs,
            air.ue,
            air.seq,
            air.t_sample_ns,
            air.t_publish_ns,
            float(air.noise_variance),
            *air.pilots.shape,
        )
    )
    samples = np.ascontiguousarray(air.pilots, dtype="<c8").tobytes()
    return air.topic.encode(), header, samples


def decode_air(parts: Sequence[bytes]) -> Air:
    """Read what a BS hears. Raises FrameError with the cause when anything is not as documented."""
    if len(parts) != 3:
        raise FrameError("malformed", f"{len(parts)} parts instead of 3")
    topic, header, samples = parts
    sizes = len(topic), len(header), len(samples)
    if sizes[0] > MAX_TOPIC_BYTES or sizes[1] > MAX_HEADER_BYTES or sizes[2] > 8 * MAX_ELEMENTS:
        raise FrameError("oversize", f"topic, header and samples of {sizes} bytes")
    fields = header_fields(header, VERSION, 11)
    _, run, bs, ue, seq, t_sample_ns, t_publish_ns, noise_variance, *shape = fields
    if not all(type(name) is str and is_name(name) for name in (run, bs, ue)):
        raise FrameError("malformed", "run, bs and ue must be short names")
    for number in (seq, t_sample_ns, t_publish_ns):
        if type(number) is not int or not 0 <= number < _INT64:
            raise FrameError("malformed", "numbers and times must be integers from 0")
    if not 0 <= t_publish_ns - t_sample_ns <= MAX_HELD_NS:
        raise FrameError("malformed", f"published {t_publish_ns - t_sample_ns} ns after it was sampled")
    if type(noise_variance) is not float or not math.isfinite(noise_variance) or noise_variance <= 0.0:
        raise FrameError("non_finite", f"noise variance {str(noise_variance)[:20]}")
    if any(type(size) is not int or not 1 <= size <= MAX_ELEMENTS for size in shape):
        raise FrameError("malformed", "slots, antennas and subcarriers must be positive integers")
    if topic != f"air/{bs}/{ue}/".encode():
        raise FrameError("malformed", f"topic {topic[:40]!r} is not that of the header")
    if len(samples) != 8 * math.prod(shape):
        raise FrameError("length", f"{len(samples)} bytes for {' x '.join(map(str, shape))} samples")
    pilots = np.frombuffer(samples, dtype="<c8").astype(np.complex64, copy=False).reshape(shape)
    if not np.isfinite(pilots).all():
        raise FrameError("non_finite", "pilots are not finite")
    return Air(run, bs, ue, seq, t_sample_ns, t_publish_ns, noise_variance, pilots)
