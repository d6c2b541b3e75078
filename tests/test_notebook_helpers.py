"""What the notebooks show besides figures; what a student may answer is in test_exercises.py."""

import inspect
import re
from types import SimpleNamespace

import pandas as pd
import pytest

from fer_helpers import notebook


def banner(fixture):
    known = SimpleNamespace(sentence="It is one of a kind.")
    return notebook.banner(SimpleNamespace(is_fixture=fixture, name="some-name", identity=known))


def test_the_banner_says_on_which_dataset_a_notebook_runs():
    assert "on the fixture**" in banner(True).data and "some-name" not in banner(True).data
    assert "`some-name`. It is one of a kind. " in banner(False).data
    assert "do not commit" in banner(False).data


def test_a_table_shows_whole_sentences_to_the_left_without_row_labels():
    sentence = "word " * 40
    html = notebook.show_table(pd.DataFrame({"head": [sentence]}, index=["label"])).data
    assert sentence.strip() in html and "label" not in html
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


@pytest.mark.parametrize(("answer", "said"), [
    (0.6733, "Right."), (0.66, "Right."), (0.659, "Not yet. Hint: think"), (2 / 3, "Right."),
    (0.5, "Not yet. That is a half."), (1, "Not yet. That is one."), (0, "Not yet. Hint: think"),
    (None, "Not yet: write your answer in place of None. Hint: think")])
def test_an_answer_is_right_to_one_in_a_hundred_and_mistakes_are_named(answer, said, capsys):
    notebook.check(answer, 2 / 3, "think", {"That is a half.": 0.5, "That is one.": 1})
    assert capsys.readouterr().out == f"{said}\n"


@pytest.mark.parametrize(("answer", "right", "same"), [
    (37_001, 37_000, False), ([1, 2], [1, 2], True), ([1], [1, 1], False), (1, [1, 1], False),
    (" b ", "B", True), (["b", "c"], ["B", "x"], False), ("x", 1, False), (True, 1, True),
    ([0.5, "x"], [0.5, 1], False)])
def test_whole_numbers_and_texts_are_right_exactly(answer, right, same, capsys):
    notebook.check(answer, right, "think")
    assert (capsys.readouterr().out == "Right.\n") == same
