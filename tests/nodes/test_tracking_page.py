from pathlib import Path

from docs.examples.correlated_fixes import table

PAGE = Path(__file__).parents[2] / "docs" / "tracking.md"


def test_the_table_on_the_page_is_what_its_command_prints() -> None:
    assert table() in PAGE.read_text(encoding="utf-8")
