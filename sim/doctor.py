"""What this machine can do, and the one line that closes each gap: `python -m sim doctor`."""

import importlib.metadata
import importlib.util
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.text import Text

State = Literal["ok", "absent", "broken"]

DISTRIBUTION = "fronthaul-sim"
# What an extra is recognised by: the packages that must be importable.
EXTRAS = {"train": ("torch", "onnx"), "rt": ("sionna",), "cluster": ("ray",)}
USED_FOR = {
    "train": "training networks",
    "rt": "tracing other trajectories, sites or scenes",
    "cluster": "studies over several machines",
}
MARKS = {"ok": ("ok", "green"), "absent": ("–", "yellow"), "broken": ("broken", "bold red")}
BROKER_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked for.

    Attributes:
        name: what was looked for.
        state: `ok`; `absent`, which some commands miss; or `broken`, which the main job misses.
        found: what was found, and where.
        fix: the one line that closes the gap; empty when there is none.
    """

    name: str
    state: State
    found: str
    fix: str = ""


def examine() -> Iterator[Finding]:
    """Look at this machine, one finding after the other."""
    checks: tuple[Callable[[], Finding], ...] = (python, core, weights, traces, llvm, gpu, mosquitto)
    yield from (check() for check in checks)
    yield from (extra(name) for name in EXTRAS)


def report(console: Console | None = None) -> bool:
    """Print all findings; says whether the main job (running shipped scenarios) works here."""
    console = console or Console()
    works = True
    for finding in examine():
        works = works and finding.state != "broken"
        mark, style = MARKS[finding.state]
        line = Text.assemble((f"{mark:7}", style), f"{finding.name:14}", finding.found)
        console.print(line, soft_wrap=True)
        if finding.fix:
            console.print(Text(f"{'':7}{'to fix:':14}{finding.fix}"), soft_wrap=True)
    console.print(
        "Shipped scenarios run here." if works else "Shipped scenarios cannot run here: see what is broken."
    )
    return works


def python() -> Finding:
    """The interpreter."""
    version = platform.python_version()
    if sys.version_info < (3, 11):  # noqa: UP036 - an older interpreter may be pointed at a checkout
        return Finding("Python", "broken", version, "install Python 3.11 or newer")
    return Finding("Python", "ok", f"{version} at {sys.executable}")


def core() -> Finding:
    """The packages that running scenarios needs."""
    missing = [name for name in core_requirements() if not is_installed(name)]
    if missing:
        return Finding("core packages", "broken", f"missing: {', '.join(missing)}", "pip install .")
    return Finding("core packages", "ok", f"{len(core_requirements())} installed")


def weights() -> Finding:
    """The shipped weights."""
    from models.runtime import WEIGHTS, ModelError, load_model

    folders = (path for path in WEIGHTS.iterdir() if path.is_dir()) if WEIGHTS.is_dir() else ()
    names = sorted(path.name for path in folders if not any(path.glob("*/model.json")))  # no folder of models
    if not names:
        return Finding("weights", "broken", f"none in {WEIGHTS}", "git checkout -- models/weights")
    for name in names:
        try:
            load_model(name)
        except ModelError as error:
            return Finding("weights", "broken", str(error), "git checkout -- models/weights")
    return Finding("weights", "ok", ", ".join(names))


def traces() -> Finding:
    """The stored traces of the shipped scenarios."""
    folder = Path(__file__).resolve().parents[1] / "scenarios" / "traces"
    files = sorted(folder.glob("*.h5"))
    if not files:
        return Finding("traces", "absent", f"none in {folder}", "git checkout -- scenarios/traces")
    return Finding("traces", "ok", f"{len(files)} in {folder}")


def llvm() -> Finding:
    """The LLVM library that the ray tracer compiles with on a CPU."""
    from sim.channel.llvm import INSTALL_HINT, find_llvm

    path = find_llvm()
    if path is None:
        return Finding("LLVM", "absent", "none that works", INSTALL_HINT)
    return Finding("LLVM", "ok", str(path))


def gpu() -> Finding:
    """NVIDIA's GPUs; everything works without."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return Finding("GPU", "absent", "none (no nvidia-smi): CPU is used", "")
    try:
        listing = subprocess.run(
            [program, "-L"], capture_output=True, text=True, timeout=20, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return Finding(
            "GPU", "absent", "nvidia-smi fails: CPU is used", "reload or reinstall NVIDIA's driver"
        )
    names = re.findall(r"GPU \d+: (.*?) \(UUID", listing)
    return Finding("GPU", "ok", ", ".join(names)) if names else Finding("GPU", "absent", "none: CPU is used")


def mosquitto() -> Finding:
    """An MQTT broker, which only the MQTT bridge needs."""
    program = shutil.which("mosquitto") or next(
        (str(path) for folder in BROKER_FOLDERS if (path := Path(folder) / "mosquitto").is_file()), None
    )
    if program is None:
        return Finding("MQTT broker", "absent", "no mosquitto", "apt-get install mosquitto")
    return Finding("MQTT broker", "ok", program)


def extra(name: str) -> Finding:
    """The packages of an extra."""
    missing = [module for module in EXTRAS[name] if not is_importable(module)]
    if missing:
        found = f"missing: {', '.join(missing)}; needed for {USED_FOR[name]}"
        return Finding(f"extra {name}", "absent", found, f"pip install '.[{name}]'")
    versions = ", ".join(f"{module} {version_of(module)}" for module in EXTRAS[name])
    return Finding(f"extra {name}", "ok", versions)


def core_requirements() -> list[str]:
    """Names of the packages the core depends on."""
    try:
        requirements = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        requirements = _requirements_of_checkout()
    names = []
    for requirement in requirements:
        matched = re.match(r"[A-Za-z0-9._-]+", requirement)
        if matched and "extra ==" not in requirement:
            names.append(matched.group())
    return names


def is_installed(distribution: str) -> bool:
    """Whether a distribution is installed."""
    return version_of(distribution) != "unknown"


def version_of(distribution: str) -> str:
    """Version of a distribution, or `unknown`."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def is_importable(module: str) -> bool:
    """Whether a top-level module can be found; it is not imported."""
    return importlib.util.find_spec(module) is not None


def _requirements_of_checkout() -> list[str]:
    import tomllib

    project = Path(__file__).resolve().parents[1] / "pyproject.toml"
    dependencies = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"]
    return [str(dependency) for dependency in dependencies]
