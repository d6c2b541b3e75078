"""Guards: what a notebook's sentences say of shipped results stands above them as an ``assert``.

A guard is such a line, with the words of its sentence in quotes behind it. When new runs make a
sentence untrue, the notebook stops there.
"""

import ast
import dataclasses
import re

import matplotlib.pyplot as plt
import notebook_files
import numpy as np
import pytest
from notebook_files import NAMES

from fer_helpers import identity, plotting, report, runs

GUARD = re.compile(r'^\s*assert .*# (".*")$', re.MULTILINE)
GUARDS = [(name[:2], words) for name in NAMES for cell in notebook_files.code_cells(name)
          for line in GUARD.findall(cell.source) for words in re.findall('"([^"]+)"', line)]


def words_of(text):
    """The words of a text that say something: four letters or more."""
    return {word for word in re.findall(r"\w+", text.lower()) if len(word) > 3}


def test_there_are_enough():
    """A sentence stands behind every ``assert``, but for two that look if runs fit together."""
    for name in NAMES:
        for cell in notebook_files.code_cells(name):
            nodes = [node for node in ast.walk(ast.parse(cell.source))
                     if isinstance(node, ast.Assert) and ".ids ==" not in ast.unparse(node)]
            assert len(nodes) == len(GUARD.findall(cell.source)), (name, cell.source)
    assert len(GUARDS) >= 60
    assert {number for number, _ in GUARDS} == {name[:2] for name in NAMES}, "at least one in each"


@pytest.mark.parametrize(("number", "words"), GUARDS, ids=lambda value: str(value)[:40])
def test_a_guard_names_a_sentence_beside_it(number, words):
    """The text just above or below has all words that say something, in any order."""
    cells = notebook_files.read(number).cells
    place = next(i for i, cell in enumerate(cells)
                 if any(f'"{words}"' in line for line in GUARD.findall(cell.source)))
    beside = [next((words_of(cell.source) for cell in part if cell.cell_type == "markdown"), set())
              for part in (cells[place::-1], cells[place:])]
    assert any(words_of(words) <= text for text in beside)


# Guards fail when results change.

def run_guard(number, words, needed_by):
    """Run the cells that a guard depends on, without their other guards."""
    cells, names = notebook_files.code_cells(number), {"display": id}
    target = next(cell.id for cell in cells if f'"{words}"' in cell.source)
    for cell in needed_by(cells, target):
        exec(re.sub(rf'(?m)^( *)assert (?!.*"{words}").*$', r"\1pass", cell.source), names)
    plt.close("all")


IMAGES, LOAD, PRINTED = identity.images, runs.reference_runs, report.printed


def changed_runs(change):
    return runs, "reference_runs", lambda model: [change(run) for run in LOAD(model)]


def exchanged(first, second):
    """The runs of two models exchange their places."""
    places = {first: second, second: first}
    return runs, "reference_runs", lambda model: LOAD(places.get(model, model))


def right_everywhere(run):
    return dataclasses.replace(run, probabilities=np.eye(6, dtype=np.float32)[run.labels])


def mixed(run):
    """The answers of a run, given to other images."""
    order = np.random.default_rng(run.settings["seed"]).permutation(len(run.labels))
    return dataclasses.replace(run, probabilities=run.probabilities[order])


def no_memory(run):
    """As if a network were no better on its training images than on others."""
    return dataclasses.replace(run, about=run.about | {"train_accuracy": run.accuracy})


def all_memory(run):
    """As if a network knew its training images by heart."""
    return dataclasses.replace(run, about=run.about | {"train_accuracy": 1.0})


def printed_with(**changes):
    return report, "printed", lambda: PRINTED() | changes


FAILING = [  # notebook, words, what is patched and by what
    ("01", "far more", (identity, "images", lambda: IMAGES().assign(NF=0))),
    ("01", "cannot be right", printed_with(original={"train": 28709, "test": 7178})),
    ("03", "every baseline knows its training images better", changed_runs(no_memory)),
    ("03", "worst at fear and sad", changed_runs(mixed)),
    ("03", "47.22 % is possible", changed_runs(right_everywhere)),
    ("04", "hardly better there than on new ones", changed_runs(all_memory)),
    ("05", "only a few points worse on new ones", changed_runs(all_memory)),
    ("05", "none lies wholly below", exchanged("final", "ablation")),
    ("06", "only for the baseline and exact copies", changed_runs(mixed)),
    ("08", "no seed says 512", exchanged("final", "ablation")),
    ("08", "the final network is better than the baseline", exchanged("final", "baseline")),
]


@pytest.mark.parametrize(("number", "words", "change"), FAILING,
                         ids=[f"{number} {words}" for number, words, _ in FAILING])
def test_a_guard_fails_on_changed_results(number, words, change, needed_by, monkeypatch):
    monkeypatch.setattr(plotting, "save_figure", lambda *_: None)
    run_guard(number, words, needed_by)
    monkeypatch.setattr(*change)
    with pytest.raises(AssertionError):
        run_guard(number, words, needed_by)
