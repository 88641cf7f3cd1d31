"""The uniform midrise quantiser of (19) and the bits that its indices become on the wire.

Written over the array-API standard: the same lines quantise a NumPy array in a base station and a torch
tensor in training, and give the same indices, because the one operation that rounds is an IEEE division of
the latent's own precision. Packing to bytes is NumPy only.

A quantiser of Q bits and step Δ has the 2^Q levels (k + 1/2)Δ, k = -2^(Q-1) ... 2^(Q-1) - 1. Its outermost
levels are ±A with A = (2^Q - 1)Δ/2; what lies outside is sent as the outermost level.
"""

from collections.abc import Iterable
from typing import Any

import array_api_compat
import numpy as np
import numpy.typing as npt

MIN_BITS = 1
MAX_BITS = 16

# Step of least mean squared error for a unit Gaussian, Q = 1 ... 16 (a test checks them).
GAUSSIAN_STEPS = (
    *(1.596, 0.9957, 0.5860, 0.3352, 0.1881, 0.1041, 0.05687, 0.03076),
    *(0.01650, 0.008785, 0.004650, 0.002448, 0.001284, 6.705e-4, 3.491e-4, 1.812e-4),
)

Indices = npt.NDArray[np.uint16]


def quantiser_range(bits: int, step: Any) -> Any:
    """Outermost level A = (2^Q - 1)Δ/2, the A of (35).

    Args:
        bits: Q, 1 to 16.
        step: Δ, positive; a number or an array.
    """
    check_bits(bits)
    return ((1 << bits) - 1) / 2 * step


def quantise(latent: Any, bits: int, step: Any) -> Any:
    """Index of the level that (19) puts each latent on: floor(y/Δ) + 2^(Q-1), clamped to 0 ... 2^Q - 1.

    Args:
        latent: any shape, floating; NumPy array or torch tensor. Infinities become the outermost levels.
        bits: Q, 1 to 16.
        step: Δ > 0, a number or anything that broadcasts against ``latent`` (one step per BS).

    Returns:
        Array of the shape of ``latent``: uint16 for NumPy, int32 for torch.

    Raises:
        ValueError: for bits out of range; for a NaN in a NumPy latent (a tensor in training is not checked:
            that would wait for the device).
    """
    check_bits(bits)
    xp = array_api_compat.array_namespace(latent)
    is_numpy = array_api_compat.is_numpy_array(latent)
    if is_numpy and np.isnan(latent).any():
        raise ValueError("latent holds a NaN")
    half = 1 << (bits - 1)
    level = xp.clip(xp.floor(latent / _like(step, latent)), -half, half - 1) + half
    return xp.astype(level, np.uint16 if is_numpy else xp.int32)


def dequantise(indices: Any, bits: int, step: Any) -> Any:
    """Level behind each index: (index - 2^(Q-1) + 1/2)Δ.

    Args:
        indices: any shape, integers 0 ... 2^Q - 1; NumPy array or torch tensor.
        bits: Q, 1 to 16.
        step: Δ > 0, a number or anything that broadcasts against ``indices``.

    Returns:
        float32 array of the shape of ``indices``.
    """
    check_bits(bits)
    xp = array_api_compat.array_namespace(indices)
    centred = xp.astype(indices, xp.float32) - ((1 << (bits - 1)) - 0.5)
    return centred * _like(step, centred)


def straight_through(latent: Any, bits: int, step: Any) -> Any:
    """Quantised latent whose gradient is that of (35): 1 inside [-A, A], 0 outside.

    Args:
        latent: torch tensor, any shape (a NumPy array works too and is just quantised).
        bits: Q, 1 to 16.
        step: Δ > 0, a number or anything that broadcasts against ``latent``.
    """
    xp = array_api_compat.array_namespace(latent)
    step = _like(step, latent)
    limit = quantiser_range(bits, step)
    clipped = xp.minimum(xp.maximum(latent, -limit), limit)
    detached = latent.detach() if hasattr(latent, "detach") else latent
    level = xp.astype(dequantise(quantise(detached, bits, step), bits, step), latent.dtype)
    return clipped + (level - (clipped.detach() if hasattr(clipped, "detach") else clipped))


def calibrate_step(latents: npt.ArrayLike, bits: int, max_values: int = 200_000) -> float:
    """Step of least mean squared quantisation error on given latents.

    Searched on a logarithmic grid that is refined around its best point to a relative width below 1e-4; at
    most ``max_values`` evenly spaced latents are looked at.

    Args:
        latents: any shape, finite, not all zero.
        bits: Q, 1 to 16.
        max_values: bound on the values looked at.

    Raises:
        ValueError: for latents that are empty, not finite or all zero.
    """
    check_bits(bits)
    values = np.asarray(latents, dtype=np.float64).ravel()
    if values.size > max_values:
        values = values[np.linspace(0, values.size - 1, max_values).astype(np.int64)]
    if values.size == 0 or not np.isfinite(values).all() or not values.any():
        raise ValueError("step cannot be calibrated: latents are empty, not finite or all zero")
    # Twice the step that reaches the largest value is too coarse; a hundredth of it clips nearly all.
    widest = 2 * float(np.abs(values).max()) / ((1 << bits) - 1)
    low, high = widest / 100, 2 * widest
    best = widest
    for _ in range(6):
        grid = np.geomspace(low, high, 25)
        errors = [_mean_squared_error(values, bits, step) for step in grid]
        at = int(np.argmin(errors))
        best = float(grid[at])
        low, high = float(grid[max(at - 2, 0)]), float(grid[min(at + 2, len(grid) - 1)])
    return best


def calibrate_steps(latents: npt.ArrayLike, bits: int) -> npt.NDArray[np.float64]:
    """Step per BS: `calibrate_step` on the latents of each.

    Args:
        latents: ``[num_samples, num_bs, dims]``, finite.
        bits: Q, 1 to 16.

    Returns:
        ``[num_bs]``.
    """
    table = np.asarray(latents)
    assert table.ndim == 3, f"latents are [num_samples, num_bs, dims], not {table.shape}"
    return np.array([calibrate_step(table[:, bs], bits) for bs in range(table.shape[1])])


def rescale_step(step: float, bits: int, to_bits: int) -> float:
    """Step for another number of bits when only the one for ``bits`` was calibrated.

    Scaled by the ratio of the best steps of a Gaussian (Max, 1960): coarser quantisers do better to clip
    more, so keeping A would be too coarse.
    """
    check_bits(bits)
    check_bits(to_bits)
    return step * (GAUSSIAN_STEPS[to_bits - 1] / GAUSSIAN_STEPS[bits - 1])


def packed_size_bytes(dims: int, bits: int) -> int:
    """Bytes that D indices of Q bits take: ceil(D·Q/8)."""
    check_bits(bits)
    return (dims * bits + 7) // 8


def pack(indices: npt.ArrayLike, bits: int) -> bytes:
    """Indices as one string of bits, most significant bit first, zero bits up to the next whole byte.

    Args:
        indices: ``[dims]``, integers 0 ... 2^Q - 1.
        bits: Q, 1 to 16.

    Raises:
        ValueError: for an index that needs more than Q bits.
    """
    check_bits(bits)
    values = np.asarray(indices)
    assert values.ndim == 1, f"indices are [dims], not {values.shape}"
    if values.size and (int(values.max()) >= (1 << bits) or int(values.min()) < 0):
        raise ValueError(f"index outside 0 ... {(1 << bits) - 1}")
    as_bits = np.unpackbits(values.astype(">u2").view(np.uint8)).reshape(-1, 16)
    return np.packbits(as_bits[:, 16 - bits :]).tobytes()


def pack_many(indices: Indices, bits: int) -> list[bytes]:
    """`pack` of each row of ``[num, dims]``, in one go."""
    check_bits(bits)
    num, dims = indices.shape
    # Eight indices of Q bits fill Q bytes: they are put together four at a time, or eight where those fit.
    together = 8 if bits <= 8 else 4
    if together * bits % 8:  # four of an odd number of bits end within a byte
        as_bits = np.unpackbits(indices.astype(">u2").view(np.uint8), axis=1).reshape(num, dims, 16)
        packed = np.packbits(as_bits[:, :, 16 - bits :].reshape(num, dims * bits), axis=1)
        return [row.tobytes() for row in packed]
    groups = -(-dims // together)
    padded = np.zeros((num, groups * together), np.uint64)
    padded[:, :dims] = indices
    columns = padded.reshape(num, groups, together)
    words = columns[:, :, 0]
    for at in range(1, together):
        words = words << np.uint64(bits) | columns[:, :, at]
    size = together * bits // 8
    as_bytes = words.astype(">u8").view(np.uint8).reshape(num, groups, 8)[:, :, 8 - size :]
    flat = as_bytes.reshape(num, groups * size).tobytes()
    length = packed_size_bytes(dims, bits)
    return [flat[at : at + length] for at in range(0, num * groups * size, groups * size)]


def unpack(payload: bytes, dims: int, bits: int) -> Indices:
    """The ``[dims]`` indices of one payload; see `unpack_many`."""
    indices: Indices = unpack_many([payload], dims, bits)[0]
    return indices


def unpack_many(payloads: Iterable[bytes], dims: int, bits: int) -> Indices:
    """Indices of payloads that share D and Q, in one go.

    Args:
        payloads: each of ceil(D·Q/8) bytes.
        dims: D.
        bits: Q, 1 to 16.

    Returns:
        uint16 ``[num_payloads, dims]``.

    Raises:
        ValueError: for a payload of another length or with a one among its filling bits.
    """
    size = packed_size_bytes(dims, bits)
    payloads = list(payloads)
    for payload in payloads:
        check_payload(payload, dims, bits)
    as_bytes = np.zeros((len(payloads), size + 2), dtype=np.uint32)
    as_bytes[:, :size] = np.frombuffer(b"".join(payloads), dtype=np.uint8).reshape(len(payloads), size)
    # An index of up to 16 bits lies within the 24 bits from the byte in which it begins.
    windows = as_bytes[:, :-2] << 16 | as_bytes[:, 1:-1] << 8 | as_bytes[:, 2:]
    begin = np.arange(dims) * bits
    behind = (24 - bits - begin % 8).astype(np.uint32)
    indices: Indices = (windows[:, begin // 8] >> behind & ((1 << bits) - 1)).astype(np.uint16)
    return indices


def check_payload(payload: bytes, dims: int, bits: int) -> None:
    """Refuse with a ValueError what `pack` cannot have made: another length, a one among the filling bits."""
    size = packed_size_bytes(dims, bits)
    if len(payload) != size:
        raise ValueError(f"payload of {len(payload)} bytes; {dims} indices of {bits} bits take {size}")
    filling = 8 * size - dims * bits
    if size and payload[-1] & ((1 << filling) - 1):
        raise ValueError("payload has a one among its filling bits")


def check_bits(bits: object) -> None:
    """Refuse a Q that is not an integer from 1 to 16 with a ValueError."""
    if not isinstance(bits, int) or not MIN_BITS <= bits <= MAX_BITS:
        raise ValueError(f"bits must be an integer from {MIN_BITS} to {MAX_BITS}, not {bits!r}")


def _mean_squared_error(values: npt.NDArray[np.float64], bits: int, step: float) -> float:
    half = 1 << (bits - 1)
    levels = (np.clip(np.floor(values / step), -half, half - 1) + 0.5) * step
    return float(np.mean(np.square(values - levels)))


def _like(step: Any, array: Any) -> Any:
    # A tensor, not a Python number: dividing a CUDA tensor by a number multiplies by its reciprocal instead.
    xp = array_api_compat.array_namespace(array)
    return xp.asarray(step, dtype=array.dtype, device=array_api_compat.device(array))
