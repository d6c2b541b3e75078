"""`make notebooks` says what it is doing, and what failed."""

import io
import os
import sys

import nbformat
import nbval.kernel
import pytest
import run_notebooks
from jupyter_client.connect import LocalPortCache


@pytest.fixture
def course(monkeypatch, tmp_path):
    """Two small notebooks, the second of which fails; return a function that runs them.

    No kernel may ask for a TCP port: another program can take it before the kernel does.
    """
    if os.name != "nt":
        monkeypatch.delattr(LocalPortCache, "find_available_port")
    monkeypatch.setattr(run_notebooks, "FOLDER", tmp_path)
    monkeypatch.setattr(run_notebooks, "BUILD", tmp_path / "build")
    monkeypatch.setattr(run_notebooks, "write_pages", lambda: print("pages") or True)
    for name, sources in {"good": ["print('Epoch 1/2')", "2 + 2"], "bad": ["1 / 0"]}.items():
        cells = [nbformat.v4.new_code_cell(source) for source in sources]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / f"{name}.ipynb")

    def run(*names):
        monkeypatch.setattr(sys, "argv", ["run_notebooks", *names])
        return run_notebooks.main()

    return run


def test_a_terminal_sees_what_runs_and_what_it_prints(course, monkeypatch, tmp_path):
    terminal = io.TextIOWrapper(io.BytesIO(), "utf-8", newline="")
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stdout", terminal)
    assert course("good") == 0
    terminal.seek(0)
    written = [line.strip() for line in terminal.read().replace("\n", "\r").split("\r")]
    assert "0 of 1 done, less than a minute left | good 1/2 Epoch 1/2" in written
    assert "0 of 1 done, less than a minute left | good 2/2" in written
    assert written[-3].endswith("s  build/good.ipynb  (1 of 1 done)")
    assert written[-2] == "pages"
    assert "Epoch 1/2" in (tmp_path / "build" / "good.ipynb").read_text("utf-8")
    assert os.name == "nt" or nbval.kernel.KernelManager().transport == "ipc"


def test_a_file_gets_one_line_a_notebook_and_a_failure_is_named(course, capsys):
    assert course("bad", "good") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Running 2 notebooks, 2 at a time."
    assert "FAILED: bad" in lines
    assert sum("build/" in line for line in lines) == 1
    assert not any("Epoch" in line for line in lines)
    assert lines[-1] == "pages", "of those that went through"


def test_the_time_left_counts_what_is_done(monkeypatch):
    clock = iter([0, 600])
    monkeypatch.setattr(run_notebooks.time, "perf_counter", lambda: next(clock))
    progress = run_notebooks.Progress(["04_final_model", "01_data_audit"])
    assert progress.left() == "0 of 2 done"
    progress.done["04_final_model"] = 1  # four of five parts, in ten minutes
    assert progress.left() == "1 of 2 done, about 2 min left"


def test_a_folder_that_cannot_be_written_to_is_one_line(course, monkeypatch, tmp_path):
    (tmp_path / "build").write_text("a file where the folder should be")
    with pytest.raises(SystemExit, match=r"build cannot be written to .* work in a copy"):
        course("good")
