"""Controls: cells for JupyterLab alone. Here each is moved from end to end, and timed."""

import re
import time

import ipywidgets
import matplotlib.pyplot as plt
import notebook_files
import pytest

TAGS = ["control", "nbval-skip", "remove-cell", "skip-execution"]
CONTROLS = [(name[:2], cell) for name in notebook_files.NAMES
            for cell in notebook_files.read(name).cells
            if "control" in cell.metadata.get("tags", [])]
MOVED = [(number, cell) for number, cell in CONTROLS if "interact" in cell.source]


def named(controls):
    return pytest.mark.parametrize(("number", "cell"), controls, ids=lambda value: (
        value if isinstance(value, str) else value.id))


@named(CONTROLS)
def test_a_control_is_left_out_of_pages_and_runs_and_says_so_itself(number, cell):
    assert "widgets" not in notebook_files.read(number).metadata
    assert cell.metadata == {"tags": TAGS}
    assert cell.outputs == [] and cell.execution_count is None
    assert re.match(r"(# .*\n)*# .*JupyterLab only", cell.source)
    assert "dataset" not in cell.source


def drawn():
    """Draw all figures, as a notebook does, and close them; return how many there were."""
    numbers = plt.get_fignums()
    for figure in map(plt.figure, numbers):
        figure.canvas.draw()
        for axis in figure.axes:
            titles = [axis.get_title(side) for side in ("left", "center", "right")]
            assert sum(map(bool, titles)) < 2, f"{titles} lie over each other"
    plt.close("all")
    return len(numbers)


@named(MOVED)
def test_a_control_reacts_fast_from_end_to_end(
        number, cell, needed_by, plain_figure, monkeypatch, capsys):
    names = {"display": id}
    for one in needed_by(notebook_files.read(number).cells, cell.id)[:-1]:
        exec(one.source, names)
    plt.close("all")
    made = []

    def record(*function, **widgets):
        if not function:  # as a decorator
            return lambda function: record(function, **widgets)
        made.append(ipywidgets.interactive(*function, **widgets))
        return function[0]

    monkeypatch.setattr(ipywidgets, "interact", record)
    exec(cell.source, names)
    for control in made:
        ends = {box.description: getattr(box, "options", None) or (
            (False, True) if isinstance(box, ipywidgets.Checkbox) else (box.min, box.max))
            for box in control.children[:-1]}
        assert all(box.value != ends[box.description][-1] for box in control.children[:-1]), (
            "the first key to the right changes something")
        shown = []
        values = {box.description: box.value for box in control.children[:-1]}
        for change in [{}, *({name: end} for name in ends for end in ends[name])]:
            took = []
            while not took or (took[-1] > 3 and len(took) < 5):  # something else came between
                plain = plain_figure()
                started = time.process_time()
                control.f(**values | change)
                figures = drawn()
                took.append((time.process_time() - started) / plain)
                assert figures == 1 or capsys.readouterr().out
            shown.append(min(took))
        assert max(shown) < 3, shown
