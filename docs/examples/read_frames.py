"""Print the frames of a bus with pyzmq and msgpack alone, none of our packages.

python docs/examples/read_frames.py tcp://127.0.0.1:5555 [how many]
"""

import sys

import msgpack
import zmq


def latent_of(payload: bytes, dims: int, bits: int, step: float) -> list[float]:
    """Unpack the indices, most significant bit first, and put each on its midrise level."""
    number = int.from_bytes(payload, "big") >> (-dims * bits % 8)
    indices = [number >> bits * k & (1 << bits) - 1 for k in reversed(range(dims))]
    return [(index - (1 << bits - 1) + 0.5) * step for index in indices]


def main(endpoint: str, count: int) -> None:
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.subscribe("emb/")
        socket.connect(endpoint)
        for _ in range(count):
            _, header, payload, stamp = socket.recv_multipart()
            version, run, bs, ue, seq, sampled, published, dims, bits, step, gain, model = msgpack.unpackb(
                header
            )
            arrived, _ = msgpack.unpackb(stamp)
            assert version == 1, f"version {version}"
            latent = latent_of(payload, dims, bits, step)
            print(
                f"{run} {bs} {ue} #{seq}: "
                f"sampled {sampled} ns, published {published} ns, arrived {arrived} ns, gain {gain:g} dB, "
                f"weights {model.hex()}, {dims} x {bits} bits: {latent[:3]} ...",
                flush=True,
            )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else sys.maxsize)
