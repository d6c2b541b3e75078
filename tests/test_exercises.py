"""Every exercise: what it says untouched, to its solution, and to each known mistake."""

import ast
import re
import shutil

import check_exercises
import matplotlib.pyplot as plt
import nbformat
import notebook_files
import pytest

from fer_helpers.course import COURSE
from fer_helpers.notebook import check

BOXED = re.compile(r'<div class="alert alert-info">\n\n(.+)\n\n</div>', re.DOTALL)
ANSWER = re.compile(r"^\w+ = None\b.*$", re.MULTILINE)
SOLUTION = re.compile(
    r"<details><summary>Solution</summary>\n\n.+?\n\n```python\n(.+)\n```\n\n</details>", re.DOTALL)

notebook = pytest.mark.parametrize("name", notebook_files.NAMES)


def exercises(name):
    """Give the prompt, the cell to answer in, the cell that checks it, and the solution."""
    cells = notebook_files.read(name).cells
    return [cells[i - 1:i + 3] for i, cell in enumerate(cells)
            if "exercise" in cell.metadata.get("tags", [])]


@notebook
def test_there_are_at_least_three_and_each_is_checked(name):
    checked = [cell.id for cell in notebook_files.code_cells(name)
               if re.search(r"^check\(", cell.source, re.MULTILINE)]
    assert checked == [cells[2].id for cells in exercises(name)]
    assert len(checked) >= 3, "copy their four cells from another notebook"


@notebook
def test_the_right_answer_is_not_read_by_accident(name):
    """It stands in a cell of its own, folded, and in a solution, folded."""
    for prompt, cell, checked, solution in exercises(name):
        text = BOXED.fullmatch(prompt.source)[1]
        assert re.match(r"\*\*Exercise: .+\*\*", text)
        assert len(text.split()) <= 40
        assert cell.metadata == {"tags": ["exercise"]}
        assert len(ANSWER.findall(cell.source)) == 1
        assert checked.metadata == {"jupyter": {"source_hidden": True}, "tags": ["hide-input"]}
        assert ast.unparse(ast.parse(checked.source).body[-1]).startswith("check(")
        assert SOLUTION.fullmatch(solution.source), solution.source


@notebook
def test_a_solution_is_right_and_each_known_mistake_is_told_apart(
        name, needed_by, capsys, monkeypatch):
    solutions = {cell.id: SOLUTION.fullmatch(solution.source)[1]
                 for _, cell, _, solution in exercises(name)}
    asked = []
    monkeypatch.setattr("fer_helpers.notebook.check", lambda *question, wrong: asked.append(
        (*question, wrong)))
    names = {"display": id}  # what IPython gives to every cell
    checks = {cells[2].id for cells in exercises(name)}
    for cell in needed_by(notebook_files.read(name).cells, *solutions, *checks):
        exec(ANSWER.sub(lambda _, cell=cell: solutions[cell.id], cell.source)
             if cell.id in solutions else cell.source, names)
    plt.close("all")
    capsys.readouterr()
    assert len(asked) == len(solutions)
    for answer, right, hint, wrong in asked:
        assert wrong
        for one, said in [(answer, "Right."),
                          *((mistake, f"Not yet. {why}") for why, mistake in wrong.items())]:
            check(one, right, hint, wrong)
            assert capsys.readouterr().out == f"{said}\n", hint


def test_how_many_are_right_is_read_from_the_saved_notebooks(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(check_exercises, "COURSE", tmp_path)
    shutil.copytree(COURSE / "notebooks", tmp_path / "notebooks")
    check_exercises.main()
    total = sum(len(exercises(name)) for name in notebook_files.NAMES)
    said = capsys.readouterr().out
    assert f"0 of {total} exercises are right in notebooks/" in said and "Run both cells" in said
    own = nbformat.read(tmp_path / "notebooks" / "04_final_model.ipynb", as_version=4)
    next(cell for cell in own.cells if cell.id == "exercise-stop-check").outputs[0].text = "Right."
    (tmp_path / "mine").mkdir()
    nbformat.write(own, tmp_path / "mine" / "my 04.ipynb")
    check_exercises.main()
    said = capsys.readouterr().out
    assert "1 of 3 exercises are right in mine/" in said and "Run both cells" not in said
