"""Find the LLVM library that the ray tracer needs on a CPU."""

from __future__ import annotations

import ctypes.util
import os
import re
from pathlib import Path

OLDEST_WORKING_MAJOR = 16
"""LLVM 14 and 15 abort in code generation; 16 and newer work."""

ENVIRONMENT_VARIABLE = "DRJIT_LIBLLVM_PATH"
INSTALL_HINT = "install LLVM 16 or newer (Debian, Ubuntu: apt-get install libllvm19)"

_LIBRARY_FOLDERS = (
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/local/lib",
    "/opt/homebrew/opt/llvm/lib",
    "/usr/local/opt/llvm/lib",
)


def _major(path: Path) -> int:
    match = re.search(r"LLVM[-.](?:so\.)?(\d+)", path.name)
    return int(match.group(1)) if match else 0


def find_llvm() -> Path | None:
    """Newest libLLVM that the ray tracer can use, or None.

    The environment variable ``DRJIT_LIBLLVM_PATH`` wins when it is set, even if it names a missing file:
    whoever sets it wants just that one.
    """
    chosen = os.environ.get(ENVIRONMENT_VARIABLE)
    if chosen:
        return Path(chosen) if Path(chosen).is_file() else None
    candidates = [
        path
        for folder in _LIBRARY_FOLDERS
        for pattern in ("libLLVM.so.*", "libLLVM-*.so*", "libLLVM.dylib")
        for path in Path(folder).glob(pattern)
        if _major(path) >= OLDEST_WORKING_MAJOR or path.suffix == ".dylib"
    ]
    if candidates:
        return max(candidates, key=lambda path: (_major(path), -len(path.name)))
    named = ctypes.util.find_library("LLVM")
    return Path(named) if named and _major(Path(named)) >= OLDEST_WORKING_MAJOR else None


def point_the_tracer_at_llvm() -> Path | None:
    """Set ``DRJIT_LIBLLVM_PATH`` for this process; to be called before the first import of the ray tracer."""
    path = find_llvm()
    if path is not None:
        os.environ[ENVIRONMENT_VARIABLE] = str(path)
    return path
