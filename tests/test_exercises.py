"""Every exercise: what it says untouched, to its solution, and to each known mistake."""

import ast
import re

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest

from fer_helpers.course import COURSE
from fer_helpers.notebook import check

NOTEBOOKS = {path.stem: nbformat.read(path, as_version=4).cells
             for path in sorted((COURSE / "notebooks").glob("*.ipynb"))}
ANSWER = re.compile(r"^\w+ = None\b.*$", re.MULTILINE)
SOLUTION = re.compile(
    r"<details><summary>Solution</summary>\n\n.+?\n\n```python\n(.+)\n```\n\n</details>", re.DOTALL)

notebook = pytest.mark.parametrize("name", NOTEBOOKS)


def exercises(name):
    """Give the prompt, the cell and the solution of each exercise."""
    cells = NOTEBOOKS[name]
    return [cells[i - 1:i + 2] for i, cell in enumerate(cells)
            if "exercise" in cell.metadata.get("tags", []) or "\ncheck(" in cell.source]


def names_in(source):
    """Say which names some code sets, and which others it uses."""
    found = {True: set(), False: set()}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name):
            found[isinstance(node.ctx, ast.Store)].add(node.id)
        elif isinstance(node, ast.FunctionDef):
            found[True].add(node.name)
        elif isinstance(node, ast.alias):
            found[True].add((node.asname or node.name).split(".")[0])
    return found[True], found[False] - found[True]


def what_it_needs(name):
    """Pick the cells of a notebook that its exercises need, so that no test has to train."""
    wanted, picked = set(), []
    for cell in reversed([cell for cell in NOTEBOOKS[name] if cell.cell_type == "code"]):
        sets, uses = names_in(cell.source)
        if "exercise" in cell.metadata.get("tags", []) or sets & wanted:
            picked.append(cell)
            wanted |= uses
    return picked[::-1]


@notebook
def test_there_are_at_least_three(name):
    assert len(exercises(name)) >= 3


@notebook
def test_has_a_prompt_of_40_words_a_cell_that_ends_with_its_check_and_a_folded_solution(name):
    for prompt, cell, solution in exercises(name):
        assert re.match(r"\*\*Exercise: .+\*\*", prompt.source)
        assert len(prompt.source.split()) <= 40
        assert cell.metadata["tags"] == ["exercise"]
        assert len(ANSWER.findall(cell.source)) == 1
        assert ast.unparse(ast.parse(cell.source).body[-1]).startswith("check(")
        assert SOLUTION.fullmatch(solution.source), solution.source


@notebook
def test_says_not_yet_as_long_as_nobody_has_answered(name):
    for _, cell, _ in exercises(name):
        said = "".join(output.text for output in cell.outputs)
        assert "Not yet: write your answer in place of None. Hint: " in said


@notebook
def test_a_solution_is_right_and_each_known_mistake_is_told_apart(name, capsys, monkeypatch):
    solutions = {cell.id: SOLUTION.fullmatch(solution.source)[1]
                 for _, cell, solution in exercises(name)}
    asked = {}

    def listen(answer, right, hint, wrong):
        asked.update(answer=answer, right=right, hint=hint, wrong=wrong)

    monkeypatch.setattr("fer_helpers.notebook.check", listen)
    names = {"display": id}  # what IPython gives to every cell
    for cell in what_it_needs(name):
        assert "training.train(" not in cell.source
        if cell.id not in solutions:
            exec(cell.source, names)
            continue
        exec(ANSWER.sub(lambda _, cell=cell: solutions[cell.id], cell.source), names)
        capsys.readouterr()
        check(asked["answer"], asked["right"], asked["hint"], asked["wrong"])
        assert capsys.readouterr().out == "Right.\n", cell.source
        assert asked["wrong"]
        for why, answer in asked["wrong"].items():
            check(answer, asked["right"], asked["hint"], asked["wrong"])
            assert capsys.readouterr().out == f"Not yet. {why}\n", cell.source
    plt.close("all")


@pytest.mark.parametrize(("answer", "right"), [
    (6, 6), ("6", 6), (6.0, np.int64(6)), (0.67, 2 / 3), ([0.8, 0.57], np.array([0.8, 4 / 7])),
    ((1, 2), [1, 2]), (np.array([[1, 2]]), [[1, 2]]), (pd.Series([1, 2]), [1, 2]),
    (" b ", "B"), (["holds", "Not settled"], ["holds", "not settled"])])
def test_what_a_student_may_write_is_right(answer, right, capsys):
    check(answer, right, "think")
    assert capsys.readouterr().out == "Right.\n"


@pytest.mark.parametrize("answer", [
    7, 0.7, 37_001, -1, "six", "", [], [6], [6, 6], {}, {6}, [[1], [2, 3]], np.nan, object(), print,
    lambda: 6, 10**400, pd.DataFrame({"a": ["x"]}), [None], b"6\xff", 6j])
def test_anything_else_is_not_yet_and_never_an_error(answer, capsys):
    for right in (6, 2 / 3, 37_000, "B", ["holds", "holds"], np.array([0.8, 0.57])):
        check(answer, right, "think", wrong={"That is one.": 1})
        assert capsys.readouterr().out == "Not yet. Hint: think\n"


def test_the_mistake_is_named(capsys):
    check(1, 6, "think", wrong={"That is two.": 2, "That is one.": 1})
    assert capsys.readouterr().out == "Not yet. That is one.\n"
