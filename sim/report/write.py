"""Reads a run and writes its report or picture, whole or not at all."""

from pathlib import Path

from sim.report.page import page
from sim.report.picture import picture
from sim.report.setting import setting_of
from sim.report.view import view_run
from sim.run_folder import REPORT_FILE, RunFolder, RunFolderError
from sim.scenario import Scenario


def write_report(run_folder: Path, scenario: Scenario | None = None) -> Path:
    """Write the report of a run, ended or not, into its folder; it stays below 3 MB however long the run.

    Args:
        run_folder: the folder of the run.
        scenario: what it ran, if that is at hand: reading that of a thousand UEs again takes seconds.

    Returns:
        The path of `report.html`.

    Raises:
        RunFolderError: the folder is not a run's, a file in it is damaged, or the report cannot be written.
    """
    folder = RunFolder.open(run_folder)
    setting = setting_of(folder, scenario)
    return _write(folder.path / REPORT_FILE, page(view_run(folder, setting.duration_s), setting))


def write_picture(run_folder: Path, file: Path) -> Path:
    """Write one SVG picture of a run's first UE: from above, error and height over time.

    Args:
        run_folder: the folder of the run.
        file: where the picture goes.

    Raises:
        RunFolderError: the folder is not a run's, holds no snapshot, or a file in it is damaged.
    """
    folder = RunFolder.open(run_folder)
    setting = setting_of(folder)
    return _write(file, picture(view_run(folder, setting.duration_s), setting))


def _write(file: Path, content: str) -> Path:
    unfinished = file.with_name(file.name + ".writing")
    try:
        unfinished.write_text(content, encoding="utf-8")
        unfinished.rename(file)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise RunFolderError(f"{file}: cannot be written: {error.strerror}") from error
    return file
