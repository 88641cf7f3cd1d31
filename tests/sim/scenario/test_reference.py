from pathlib import Path

from sim.scenario.reference import fields_of, parts, reference, section

PAGE = Path(__file__).parents[3] / "docs" / "scenario-reference.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), (
        "run: python -m sim reference > docs/scenario-reference.md"
    )


def test_every_key_is_described() -> None:
    for part in parts():
        for key, field in fields_of(part):
            assert field.description or key == "kind", f"{part.__name__}.{key}"


def test_every_link_leads_to_a_heading() -> None:
    import re

    page = reference()
    headings = {
        "".join(c for c in line[3:].lower().replace(" ", "-") if c.isalnum() or c in "-_")
        for line in page.splitlines()
        if line.startswith("## ")
    }
    assert set(re.findall(r"\(#([^)]+)\)", page)) <= headings
    assert len(headings) == len(parts())


def test_a_section_shows_units_defaults_and_alternatives() -> None:
    text = {path: section(part, path) for part, path in parts().items()}
    assert "| `deadline` | time > 0 | `50 ms` |" in text["cu"]
    assert "| `late` | `drop` or `retrodict` | `drop` |" in text["cu"]
    assert "| `bits` | whole number ≥ 1 ≤ 16 | – |" in text["model"]
