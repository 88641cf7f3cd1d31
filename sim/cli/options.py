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
