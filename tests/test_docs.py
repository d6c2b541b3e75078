"""The pages beside the notebooks: a glossary in order, and no result typed in."""

import functools
import re

import nbformat
import pytest

from fer_helpers.course import COURSE

GLOSSARY = (COURSE / "docs" / "glossary.md").read_text(encoding="utf-8")


def rows(text):
    """Return the rows of the glossary: term, notebook, sentence, Catalan, Spanish."""
    line = r"^\| \[([^]]+)\]\(\.\./notebooks/([^)]+)\) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$"
    return re.findall(line, text, re.MULTILINE)


@functools.cache
def prose(notebook):
    """Return the words of a notebook: no code, no marks, one line, lower case."""
    cells = nbformat.read(COURSE / "notebooks" / notebook, as_version=4).cells
    text = " ".join(cell.source for cell in cells if cell.cell_type == "markdown")
    return " ".join(re.sub(r"\]\([^)]*\)|`[^`]*`|[*\[]", " ", text).casefold().split())


def faults(text):
    """Say what is wrong with a glossary."""
    terms = [row[0].casefold() for row in rows(text)]
    found = [f"not in order: {second}" for first, second in zip(terms, sorted(terms), strict=True)
             if first != second]
    found += [f"twice: {term}" for term in sorted(set(terms)) if terms.count(term) > 1]
    for term, notebook, sentence, _, _ in rows(text):
        if not (COURSE / "notebooks" / notebook).is_file():
            found.append(f"{term}: no notebook {notebook}")
        elif not re.search(rf"\b{re.escape(term.casefold())}", prose(notebook)):
            found.append(f"{term}: not in {notebook}")
        if not re.fullmatch(r"[A-Z].*\.", sentence):
            found.append(f"{term}: not a sentence")
    return found


def test_every_line_of_the_table_is_a_row():
    lines = [line for line in GLOSSARY.splitlines() if line.startswith("| ")]
    assert len(rows(GLOSSARY)) == len(lines) - 1 > 100  # all but the heading


def test_terms_are_in_order_and_the_notebooks_use_them():
    assert faults(GLOSSARY) == []


@pytest.mark.parametrize(("old", "new", "fault"), [
    ("[ablation]", "[zebra]", "not in order: "),
    ("[ablation]", "[accuracy]", "twice: accuracy"),
    ("[ablation]", "[ablatium]", "ablatium: not in 05_"),
    ("[ablation](../notebooks/05_", "[ablation](../notebooks/50_", "ablation: no notebook 50_"),
    ("| The share of right answers. |", "| right answers |", "accuracy: not a sentence"),
])
def test_a_wrong_row_is_found(old, new, fault):
    assert old in GLOSSARY
    assert any(fault in found for found in faults(GLOSSARY.replace(old, new, 1)))


@pytest.mark.parametrize("name", ["teacher", "model_cards", "glossary"])
def test_no_result_of_ours_is_typed_in(name):
    """Results stand in the README's table, which is written from the runs."""
    text = (COURSE / "docs" / f"{name}.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\d+\.\d+ %", text)) <= {"47.22 %", "55.34 %", "53.09 %"}
