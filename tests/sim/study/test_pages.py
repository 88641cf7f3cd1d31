from pathlib import Path
from xml.etree import ElementTree

import pytest

from sim.study.pages import SHIPPED, STUDIES, write_pages
from sim.study.spec import load_study


@pytest.mark.parametrize("name", sorted(path.stem for path in STUDIES.glob("*.yaml")))
def test_every_study_file_has_a_page_and_says_what_it_shows(name: str) -> None:
    assert name in SHIPPED
    assert load_study(STUDIES / f"{name}.yaml").description.endswith("?")


def test_pages_are_written_by_one_call(tmp_path: Path) -> None:
    names = ["latency_deadline", "loss", "dropout", "congestion"]
    for page in write_pages(names, tmp_path, tmp_path / "pages", small=True, jobs=1):
        text = page.read_text()
        assert f"![{SHIPPED[page.stem].title}]({page.stem}.svg)" in text
        ElementTree.parse(page.with_suffix(".svg"))
