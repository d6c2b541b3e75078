"""The benchmark runs, and fills its table. What the numbers are worth, only its full run shows."""

import contextlib
import os
import sys

import bench
import numpy as np
import pandas as pd

HERE = ["course", "report"]


def test_a_quick_run_fills_the_table(tmp_path, monkeypatch, capsys):
    """All ways in this process, where TensorFlow is loaded already."""
    monkeypatch.setattr(bench, "WAYS", HERE)
    monkeypatch.setattr(bench, "processes", lambda: contextlib.nullcontext(dict.fromkeys(
        HERE, lambda function, *given: function(*given))))
    monkeypatch.setattr(sys, "argv", ["bench", "--quick", f"--output={tmp_path}"])
    bench.main()
    table = pd.read_csv(tmp_path / "bench.csv", comment="#").set_index(["what", "way"])
    numbers = table[["wall s", "CPU s", "times the course's", "lowest", "highest"]].to_numpy()
    assert np.isfinite(numbers).all()
    assert (numbers > 0).all()
    for what in ("input, baseline", "step, baseline"):
        assert list(table.loc[what].index) == HERE
    steps = table.loc["step, baseline"]
    assert steps["share of peak"].between(0.001, 1.5).all()
    assert (steps["peak GB"] > 0.2).all()
    assert set(table.loc["load, fixture"].index) >= {"course", "Keras"}
    assert (tmp_path / "growth.svg").read_text().count("<path") > 5
    assert (tmp_path / "bench.csv").read_text().startswith("# 20")


def test_each_way_has_a_process_of_its_own_and_its_environment(monkeypatch):
    for name in (bench.ONEDNN, "KERAS_BACKEND"):
        monkeypatch.setenv(name, "the user's")
    with bench.processes() as ask:
        assert {way: {name: value for name in (bench.ONEDNN, "KERAS_BACKEND") if (
            value := run(os.getenv, name))} for way, run in ask.items()} == bench.WAYS
        assert len({os.getpid(), *(run(os.getpid) for run in ask.values())}) == len(ask) + 1
