"""The benchmark runs, and fills its table. What the numbers are worth, only its full run shows."""

import contextlib
import os
import sys

import bench
import numpy as np
import pandas as pd
import pytest

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
    assert (steps["peak GB"] > 0.2).all() or os.name == "nt"
    assert set(table.loc["load, fixture"].index) >= {"course", "Keras"}
    assert (tmp_path / "growth.svg").read_text().count("<path") > 5
    assert (tmp_path / "bench.csv").read_text().startswith("# 20")


def test_other_ways_are_told_as_multiples_of_the_courses_in_the_same_turn():
    rows = pd.DataFrame([
        {"what": "step, x", "way": way, "repeat": repeat, "wall": wall, "cpu": 2 * wall,
         "memory": 1, "operations": 8e9, "peak": 4e9}
        for repeat, walls in enumerate(((2, 3), (4, 8), (10, 10))) for way, wall in zip(
            ("course", "report"), walls, strict=True)])
    table = bench.summary(rows).set_index("way")
    assert table.loc["report", ["wall s", "CPU s", "times the course's", "lowest", "highest"]
                     ].tolist() == [8, 16, 1.5, 1, 2]
    assert table["share of peak"].tolist() == [0.5, 0.25]
    assert table.loc["course", "min an epoch"] == pytest.approx(4 * 281 / 60)
    # A layer by hand: two operations a weight and place, and twice that going back, for 64 images.
    dense = 2 * (256 * 18_432 + 6 * 256)
    convolutions = 2 * (9 * 32 * 48**2 + 9 * 32 * 128 * 24**2)
    assert bench.operations("baseline") == 3 * 64 * (dense + convolutions)


def test_each_way_has_a_process_of_its_own_and_its_environment(monkeypatch):
    """And the variables of this one stay as the user has them: one is set, one is not."""
    monkeypatch.setenv("KERAS_BACKEND", "the user's")
    monkeypatch.delenv(bench.ONEDNN, raising=False)
    before = dict(os.environ)
    with bench.processes() as ask:
        assert {way: {name: value for name in (bench.ONEDNN, "KERAS_BACKEND") if (
            value := run(os.getenv, name))} for way, run in ask.items()} == bench.WAYS
        assert len({os.getpid(), *(run(os.getpid) for run in ask.values())}) == len(ask) + 1
        assert dict(os.environ) == before
