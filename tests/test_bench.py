"""The benchmark runs, and fills its table. What the numbers are worth, only its full run shows."""

import subprocess
import sys

import numpy as np
import pandas as pd

from fer_helpers.course import COURSE


def test_a_quick_run_fills_the_table(tmp_path):
    result = subprocess.run([sys.executable, COURSE / "benchmarks" / "bench.py", "--quick",
                             f"--output={tmp_path}"], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    table = pd.read_csv(tmp_path / "bench.csv", comment="#").set_index(["what", "way"])
    numbers = table[["wall s", "CPU s", "times the course's", "lowest", "highest"]].to_numpy()
    assert np.isfinite(numbers).all()
    assert (numbers > 0).all()
    for what in ("input, baseline", "step, baseline"):
        assert list(table.loc[what].index) == ["course", "report", "report, oneDNN on"]
    steps = table.loc["step, baseline"]
    assert steps["share of peak"].between(0.001, 1.5).all()
    assert (steps["peak GB"] > 0.2).all()
    assert set(table.loc["load, fixture"].index) >= {"course", "Keras"}
    assert (tmp_path / "growth.svg").read_text().count("<path") > 5
    assert (tmp_path / "bench.csv").read_text().startswith("# 20")
