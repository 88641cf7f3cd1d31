"""The report of a run, `report.html`: one self-contained page; and one picture of it."""

from sim.report.write import write_picture, write_report

__all__ = ["write_picture", "write_report"]
