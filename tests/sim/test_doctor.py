"""The doctor names what is there, what is not, and the one line that fixes it."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from sim import doctor
from sim.doctor import Finding


def printed() -> tuple[bool, str]:
    stream = io.StringIO()
    works = doctor.report(Console(file=stream, width=60))
    return works, stream.getvalue()


def test_every_gap_has_one_line_that_fixes_it() -> None:
    findings = list(doctor.examine())
    assert {finding.name for finding in findings} >= {
        "Python",
        "core packages",
        "weights",
        "LLVM",
        "GPU",
        "extra rt",
    }
    for finding in findings:
        if finding.state != "ok" and finding.name != "GPU":
            assert finding.fix
        assert "\n" not in finding.fix + finding.found


def test_findings_are_lines_to_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    gap = Finding(
        "extra rt", "absent", "missing: sionna; needed for " + "tracing " * 20, "pip install '.[rt]'"
    )
    monkeypatch.setattr(doctor, "examine", lambda: iter([gap]))
    works, text = printed()
    assert works
    assert text.splitlines()[1] == "       to fix:       pip install '.[rt]'"
    assert text.splitlines()[-1] == "Shipped scenarios run here."


def test_a_broken_core_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "core_requirements", lambda: ["numpy", "no-such-package"])
    finding = doctor.core()
    assert (finding.state, finding.found) == ("broken", "missing: no-such-package")
    monkeypatch.setattr(doctor, "examine", lambda: iter([finding]))
    assert printed()[0] is False


def test_core_requirements_are_those_of_the_project() -> None:
    names = doctor.core_requirements()
    assert {"numpy", "simpy", "pyzmq", "onnxruntime"} <= set(names)
    assert not {"torch", "sionna", "ray", "pytest"} & set(names)


def test_shipped_weights_are_found_and_load() -> None:
    found = doctor.weights()
    assert (found.state, found.found) == ("ok", "ecc-r, ecc-r-map")


def test_missing_weights_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("models.runtime.WEIGHTS", tmp_path)
    assert doctor.weights().state == "broken"
    (tmp_path / "ecc-r").mkdir()
    assert "ecc-r" in doctor.weights().found


def test_llvm_is_named_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sim.channel.llvm.find_llvm", lambda: None)
    assert "libllvm19" in doctor.llvm().fix
    monkeypatch.setattr("sim.channel.llvm.find_llvm", lambda: Path("/usr/lib/libLLVM-19.so"))
    assert doctor.llvm().found == "/usr/lib/libLLVM-19.so"


def test_a_gpu_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA H200 (UUID: GPU-1)'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor.gpu() == Finding("GPU", "ok", "NVIDIA H200")
    program.write_text("#!/bin/sh\nexit 9\n")
    assert doctor.gpu().state == "absent"
    program.unlink()
    assert doctor.gpu().state == "absent"
