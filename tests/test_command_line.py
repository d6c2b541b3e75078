"""`tools/train.py`: in this process, and as one that can be killed."""

import random
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import psutil
import pytest
import train

from fer_helpers.course import COURSE
from fer_helpers.dataset import FIXTURE
from fer_helpers.runs import load_run

resource = pytest.importorskip("resource", reason="Windows sends no signals")
SMALL = ["--epochs=12", "--batch-size=16", "--train-per-class=30", "--test-per-class=12"]


def start(folder, *more):
    return subprocess.Popen(
        [sys.executable, COURSE / "tools" / "train.py", "baseline", *SMALL, f"--output={folder}",
         *more],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # Started in the background, pytest would hand on that Ctrl-C is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))


def finish(folder):
    process = start(folder)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return output, load_run(folder / "baseline_seed0.npz")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    output, run = finish(tmp_path_factory.mktemp("whole"))
    assert output.count("Epoch ") == 12
    return run


def assert_same_history(run, other, epochs):
    seconds = ["seconds", "cpu_seconds"]
    pd.testing.assert_frame_equal(run.history.drop(columns=seconds),
                                  other.history.head(epochs).drop(columns=seconds),
                                  check_exact=True)


def test_killed_at_random_moments_it_ends_with_the_same_numbers(whole, tmp_path):
    """Twice: after an epoch's line and a random part of the next epoch, or of a write."""
    seed = random.randrange(10**6)
    moments = random.Random(seed)
    for kill in range(2):
        process = start(tmp_path)
        if kill:
            assert process.stdout.readline().startswith("Going on after epoch"), seed
        assert process.stdout.readline().startswith("Epoch"), seed
        time.sleep(moments.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, (kill, seed)
    output, resumed = finish(tmp_path)
    assert "Going on after epoch" in output, seed
    assert_same_history(resumed, whole, 12)
    np.testing.assert_array_equal(resumed.probabilities, whole.probabilities)
    left = [path.name for path in tmp_path.iterdir() if path.suffix != ".partial"]
    assert left == ["baseline_seed0.npz"]


def test_two_workers_share_the_runs_and_may_be_killed(whole, tmp_path):
    """One run fails: that stops no other, and what lies in its place stays."""
    (tmp_path / "baseline_seed1.npz").write_bytes(b"mine")
    process = start(tmp_path, "--seeds=0-1", "--workers=2", "--epochs=3")
    lines = []
    while "seed0  Epoch  1" not in "".join(lines):
        lines.append(process.stdout.readline())
        assert lines[-1], process.communicate()
    trainings = [child for child in psutil.Process(process.pid).children(recursive=True)
                 if "--tied" in child.cmdline()]
    for worker in [training.parent() for training in trainings]:
        worker.kill()
    assert not psutil.wait_procs(trainings, timeout=60)[1], "they end with their workers"
    output, errors = process.communicate(timeout=900)
    assert process.returncode == 1, errors
    assert "seed0  Going on after epoch" in output
    assert "baseline_seed1.npz is not a complete run" in "".join(lines) + output
    assert (tmp_path / "baseline_seed1.npz").read_bytes() == b"mine"
    assert_same_history(load_run(tmp_path / "baseline_seed0.npz"), whole, 3)


def test_control_c_says_how_to_go_on(tmp_path):
    process = start(tmp_path)
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "goes on after its last finished epoch" in errors


# In this process, where TensorFlow is loaded already.

@pytest.fixture
def call(monkeypatch, tmp_path, capsys):
    """Call the program; return its status and its last line of errors."""
    monkeypatch.setenv("FER_DATA", str(FIXTURE))  # the program sets it, too
    monkeypatch.setattr(train.signal, "signal", lambda *_: None)

    def run(*words):
        words = [*words, "--epochs=1", f"--output={tmp_path}"]
        monkeypatch.setattr(sys, "argv", ["train", *words])
        status = train.main()
        return status, (capsys.readouterr().err.splitlines() or [""])[-1]
    return run


@pytest.mark.parametrize(("name", "settings", "targets"), [
    ("baseline", {"model": "baseline", "learning_rate": 1e-3, "dropout": [0.25], "patience": None,
                  "augmentation": {"horizontal_flip": True}}, None),
    ("baseline_crowd", {"model": "baseline"}, "the crowd's shares"),
    ("compact_10", {"model": "compact", "sizes": [24, 32, 32, 32]}, "labels smoothed by 0.1")])
def test_a_run_says_what_it_is(call, tmp_path, name, settings, targets):
    assert call(name) == (0, "")
    run = load_run(tmp_path / f"{name}_seed0.npz")
    assert settings.items() <= run.settings.items()
    assert (run.about["dataset"], run.about.get("targets"), len(run.labels)) == (
        "fixture", targets, 72)


@pytest.mark.parametrize(("words", "said"), [
    (["baseline_crowd", *SMALL, "--data={copy}"], "comes without votes"),
    (["baseline", "--data={copy}/nowhere"], "No dataset at"),
    (["jump"], "There is no training jump. The names are ")])
def test_what_is_wrong_is_one_line(call, copy, words, said):
    status, line = call(*(word.format(copy=copy) for word in words))
    assert status == 1
    assert said in line


def test_a_full_disk_is_one_line_and_damages_nothing(call, tmp_path):
    """The limit on the size of a file stands for the disk: the write ends half-way."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    try:
        status, line = call("baseline")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert status == 1
    assert "baseline_seed0.checkpoint cannot be written" in line
    assert "that the disk has room" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--epochs=0", "--batch-size=0", "--train-per-class=-3",
                                    "--test-per-class=x", "--seeds=-1", "--seeds=3-2",
                                    "--seeds=0-1000", "--workers=0"])
def test_impossible_numbers(call, tmp_path, capsys, option):
    with pytest.raises(SystemExit) as end:
        call("baseline", option)
    assert end.value.code == 2
    assert f"argument {option.split('=')[0]}: invalid" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
