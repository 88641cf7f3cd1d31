"""What the pages say is what the code does."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np

from broker import Bus, Frame, encode_frame
from models.quantiser import dequantise, pack

DOCS = Path(__file__).parents[2] / "docs"


def test_the_example_of_the_frame_page_is_what_is_sent() -> None:
    frame = Frame(
        "run1", "bs3", "ue12", 7, 10**9, 1_002_000_000, 24, 10, 0.0125, 17.25, b"weights!", bytes(30)
    )
    page = (DOCS / "frame.md").read_text()
    listing = page.split("```text\n")[1].split("```")[0]
    shown = re.sub(r"\s{3,}.*", "", listing, flags=re.MULTILINE).split()
    assert bytes.fromhex("".join(shown)) == encode_frame(frame)[1]


def test_the_reader_without_our_packages_reads_what_we_send(tmp_path: Path) -> None:
    indices = [(37 * k + 1) % 512 for k in range(7)]
    frame = Frame("run1", "bs3", "ue12", 0, 5, 6, 7, 9, 0.25, 17.25, b"weights!", pack(indices, 9))
    latent = [float(value) for value in dequantise(np.array(indices), 9, 0.25)]
    reader = DOCS / "examples" / "read_frames.py"
    with Bus("tcp") as bus:
        command = [sys.executable, str(reader), bus.forwarder.downstream, "1"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
            bus.forwarder.wait_for_subscriber()
            bus.forwarder.forward(encode_frame(frame), 9)
            printed, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert printed == (
        "run1 bs3 ue12 #0: sampled 5 ns, published 6 ns, arrived 9 ns, "
        f"gain 17.25 dB, weights {b'weights!'.hex()}, 7 x 9 bits: {latent[:3]} ...\n"
    )


def test_the_example_of_the_fronthaul_page_runs() -> None:
    page = (DOCS / "fronthaul.md").read_text()
    example = page.split("```python\n")[1].split("```")[0]
    printed = subprocess.run([sys.executable, "-c", example], capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == example.rsplit("# ", 1)[1].strip()


def test_the_benchmark_counts_every_frame() -> None:
    script = DOCS.parent / "scripts" / "bench_bus"
    command = [sys.executable, str(script), "inproc", "--rounds", "5", "--repetitions", "1"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.startswith("inproc 30 frames: ours ")
    assert "ratio" in printed
