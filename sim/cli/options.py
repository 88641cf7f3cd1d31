"""Arguments that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ScenarioFile = Annotated[Path, typer.Argument(metavar="SCENARIO", help="Scenario file (YAML).")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY.PATH=VALUE]...", help='Changes to the scenario, e.g. cu.deadline="20 ms".'),
]
RunFolderPath = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")]
Zmq = Annotated[
    str | None,
    typer.Option(metavar="ENDPOINT", help="Publish tracks and links here, e.g. tcp://127.0.0.1:*."),
]
Mqtt = Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Publish tracks to this MQTT broker.")]
Metrics = Annotated[
    int | None,
    typer.Option(
        min=0, max=65535, metavar="PORT", help="Serve Prometheus metrics on this port of 127.0.0.1."
    ),
]
Live = Annotated[bool, typer.Option("--live", help="Show the run in the browser as it goes.")]
LivePort = Annotated[
    int, typer.Option(min=0, max=65535, help="Port of the page with --live; 0 takes a free one.")
]
Engine = Annotated[
    str,
    typer.Option(metavar="pool|ray", help="Where work goes: processes of this machine, or a Ray cluster."),
]
Address = Annotated[
    str | None,
    typer.Option(help="Of the Ray cluster, or 'auto'.", show_default="a cluster of this machine alone"),
]
SideBySide = Annotated[
    int | None, typer.Option(min=1, help="Tasks side by side.", show_default="pool: 1, ray: one per core")
]
