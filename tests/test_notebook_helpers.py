"""What the notebooks show besides figures, and what they say to an answer."""

import inspect
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from fer_helpers import notebook


def test_the_banner_says_on_which_dataset_a_notebook_runs():
    known = SimpleNamespace(sentence="It is one of a kind.")
    fixture, other = (notebook.banner(SimpleNamespace(
        is_fixture=fixture, name="some-name", identity=known)).data for fixture in (True, False))
    assert "on the fixture**" in fixture and "some-name" not in fixture
    assert "`some-name`. It is one of a kind. " in other and "do not commit" in other


def test_a_table_shows_whole_sentences_to_the_left_without_row_labels():
    sentence = "word " * 40 + "a <b> c"
    html = notebook.show_table(pd.DataFrame({"head": [sentence]}, index=["label"])).data
    assert sentence.replace("<b>", "&lt;b&gt;") in html and "label" not in html
    cells = re.findall(r"<t[hd][ >].*?>", html)
    assert len(cells) == 2 and all('style="text-align: left"' in cell for cell in cells)
    assert 'border="1"' not in html


class Shown:
    def method(self):
        """Say something.

        And more of it.
        """
        text = """This
            stays."""
        return text


def short():
    """One line."""


def test_source_is_shown_as_it_is_with_the_first_line_of_each_docstring():
    method = inspect.cleandoc('''
        def method(self):
            """Say something."""
            text = """This
                stays."""
            return text''')
    data = notebook.show_source(Shown.method, short).data
    assert data == f'```python\n{method}\n\n\ndef short():\n    """One line."""\n```'


THINK, HALF = "Not yet. Hint: think", "Not yet. That is a half."
NEARLY = "Not yet. Nearly: give more digits, or write the calculation."
PERCENT = "Not yet. That is a percent. Write a share, from 0 to 1."


@pytest.mark.parametrize(("answer", "right", "said"), [
    (0.6733, 2 / 3, "Right."), (0.66, 2 / 3, "Right."), (0.659, 2 / 3, NEARLY), (0.5, 2 / 3, HALF),
    ("0.66", 2 / 3, "Right."), (0.72, 2 / 3, THINK), (22, 500 ** 0.5, NEARLY),
    (0.5, 0.51, HALF), ([1, 2.1], [1, 2], THINK),
    (1, 2 / 3, "Not yet. That is one."), (0, 2 / 3, THINK),
    (None, 2 / 3,
     "Not yet: write your answer above, in place of None, and run both cells. Hint: think"),
    (37_001, 37_000, THINK), ([1, 2], [1, 2], "Right."), ([1], [1, 1], THINK), (2, [2, 2], THINK),
    (" b ", "B", "Right."), (["b", "c"], ["B", "x"], THINK), ("x", 1, THINK),
    ([0.5, "x"], [0.5, 1], THINK), (66.1, 2 / 3, PERCENT), (100, 1.0, PERCENT),
    ([50, 150], [0.5, 1.5], THINK), (100, 1, THINK), (5e-10, 0.0, "Right."), (5e-9, 0.0, THINK),
    ("6", 6, "Right."), (6.0, np.int64(6), "Right."), (600, 6, THINK), (25, 0.25, PERCENT),
    ([0.8, 0.57], np.array([0.8, 4 / 7]), "Right."), ([80, 57], np.array([0.8, 4 / 7]), PERCENT),
    (np.array([[1, 2]]), [[1, 2]], "Right."), (pd.Series([1, 2]), [1, 2], "Right."),
    ("66.7", 2 / 3, PERCENT), (["holds", "Not settled"], ["holds", "not settled"], "Right.")])
def test_an_answer_is_right_exactly_or_to_one_in_a_hundred(answer, right, said, capsys):
    notebook.check(answer, right, "think", {"That is a half.": 0.5, "That is one.": 1})
    assert capsys.readouterr().out == f"{said}\n"


@pytest.mark.parametrize("answer", [
    7, 0.6, 37_001, -1, "six", "", [], [6], [6, 6], {}, {6}, [[1], [2, 3]], np.nan, object(), print,
    lambda: 6, 10**400, pd.DataFrame({"a": ["x"]}), [None], b"6\xff", 6j])
def test_anything_else_is_not_yet_and_never_an_error(answer, capsys):
    for right in (6, 2 / 3, 37_000, "B", ["holds", "holds"], np.array([0.8, 0.57])):
        notebook.check(answer, right, "think", wrong={"That is one.": 1})
        assert capsys.readouterr().out == "Not yet. Hint: think\n"
