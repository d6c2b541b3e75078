"""`tools/train.py`, as a process that can be killed."""

import random
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import psutil
import pytest

from fer_helpers.course import COURSE
from fer_helpers.dataset import FIXTURE
from fer_helpers.runs import load_run

resource = pytest.importorskip("resource", reason="Windows sends no signals")
TRAIN = [sys.executable, COURSE / "tools" / "train.py"]
SMALL = ["--epochs=12", "--batch-size=16", "--train-per-class=30", "--test-per-class=12"]


def start(folder, *more, model="baseline"):
    return subprocess.Popen(
        [*TRAIN, model, *SMALL, f"--output={folder}", *more],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # Started in the background, pytest would hand on that Ctrl-C is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))


def finish(folder, *more, model="baseline"):
    process = start(folder, *more, model=model)
    output, errors = process.communicate(timeout=300)
    return process.returncode, output, errors


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    code, output, errors = finish(folder)
    assert code == 0, errors
    assert output.count("Epoch ") == 12
    return load_run(folder / "baseline_seed0.npz")


def test_a_run_says_what_it_is(whole):
    assert whole.settings["model"] == "baseline"
    assert whole.settings["learning_rate"] == 1e-3
    assert whole.settings["augmentation"] == {"horizontal_flip": True}
    assert whole.settings["dropout"] == [0.25]
    assert whole.settings["patience"] is None
    assert whole.about["dataset"] == "fixture"
    assert len(whole.labels) == 72


def assert_same_history(run, other, epochs):
    seconds = ["seconds", "cpu_seconds"]
    pd.testing.assert_frame_equal(run.history.drop(columns=seconds),
                                  other.history.head(epochs).drop(columns=seconds),
                                  check_exact=True)


def test_killed_at_random_moments_it_ends_with_the_same_numbers(whole, tmp_path):
    """Three times: after an epoch's line and a random part of the next epoch, or of a write."""
    seed = random.randrange(10**6)
    moments = random.Random(seed)
    for kill in range(3):
        process = start(tmp_path)
        if kill:
            assert process.stdout.readline().startswith("Going on after epoch"), seed
        assert process.stdout.readline().startswith("Epoch"), seed
        time.sleep(moments.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, (kill, seed)
    code, output, errors = finish(tmp_path)
    assert code == 0, (errors, seed)
    assert "Going on after epoch" in output
    resumed = load_run(tmp_path / "baseline_seed0.npz")
    assert_same_history(resumed, whole, 12)
    np.testing.assert_array_equal(resumed.probabilities, whole.probabilities)
    left = [path.name for path in tmp_path.iterdir() if path.suffix != ".partial"]
    assert left == ["baseline_seed0.npz"]


def test_two_workers_share_the_runs_and_may_be_killed(whole, tmp_path):
    """One run fails: that stops no other."""
    (tmp_path / "baseline_seed2.npz").write_bytes(b"mine")
    process = start(tmp_path, "--seeds=0-2", "--workers=2", "--epochs=3")
    while "seed0  Epoch  1" not in (line := process.stdout.readline()):
        assert line, process.communicate()
    trainings = [child for child in psutil.Process(process.pid).children(recursive=True)
                 if "--tied" in child.cmdline()]
    for worker in [training.parent() for training in trainings]:
        worker.kill()
    assert not psutil.wait_procs(trainings, timeout=60)[1], "they end with their workers"
    output, errors = process.communicate(timeout=900)
    assert process.returncode == 1, errors
    assert "seed0  Going on after epoch" in output
    assert "baseline_seed2.npz is not a complete run" in output
    first, second = (load_run(tmp_path / f"baseline_seed{seed}.npz") for seed in (0, 1))
    assert_same_history(first, whole, 3)
    assert (second.probabilities != first.probabilities).any()


def test_a_full_disk_is_one_line_and_damages_nothing(tmp_path):
    """The limit on the size of a file stands for the disk: the write ends half-way."""
    small = (1_000_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    result = subprocess.run(
        [*TRAIN, "baseline", *SMALL, f"--output={tmp_path}"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, small),
        capture_output=True, text=True)
    assert result.returncode == 1
    assert "baseline_seed0.checkpoint cannot be written" in result.stderr.splitlines()[-1]
    assert "that the disk has room" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_baseline_learns_from_the_crowd_where_there_are_votes(tmp_path, copy):
    def finish(*more):
        return subprocess.run(
            [*TRAIN, "baseline_crowd", *SMALL, "--epochs=1", f"--output={tmp_path}", *more],
            capture_output=True, text=True)

    result = finish()  # FER_DATA is a copy of the fixture
    assert result.returncode == 1
    assert "comes without votes" in result.stderr.splitlines()[-1]
    result = finish(f"--data={FIXTURE}")
    assert result.returncode == 0, result.stderr
    run = load_run(tmp_path / "baseline_crowd_seed0.npz")
    assert (run.settings["model"], run.about["targets"]) == ("baseline", "the crowd's shares")


def test_the_compact_network_learns_from_smoothed_labels(tmp_path):
    code, _, errors = finish(tmp_path, "--epochs=1", model="compact_10")
    assert code == 0, errors
    run = load_run(tmp_path / "compact_10_seed0.npz")
    assert run.about["targets"] == "labels smoothed by 0.1"
    assert (run.settings["model"], run.settings["epochs"], run.settings["sizes"]) == (
        "compact", 1, [24, 32, 32, 32])


def test_something_else_under_the_runs_name_is_not_overwritten(tmp_path):
    (tmp_path / "baseline_seed0.npz").write_bytes(b"mine")
    code, _, errors = finish(tmp_path)
    assert code == 1
    assert "is not a complete run" in errors
    assert (tmp_path / "baseline_seed0.npz").read_bytes() == b"mine"


@pytest.mark.parametrize("option", ["--epochs=0", "--batch-size=0", "--train-per-class=-3",
                                    "--test-per-class=x", "--seeds=-1", "--seeds=3-2",
                                    "--seeds=0-1000", "--workers=0"])
def test_impossible_numbers(tmp_path, option):
    code, _, errors = finish(tmp_path, option)
    assert code == 2
    assert f"argument {option.split('=')[0]}: invalid" in errors
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_dataset_is_one_line_and_no_traceback(tmp_path):
    code, _, errors = finish(tmp_path, f"--data={tmp_path / 'nowhere'}")
    assert code == 1
    assert errors.splitlines()[-1].startswith("No dataset at")
    assert "Traceback" not in errors


def test_control_c_says_how_to_go_on(tmp_path):
    process = start(tmp_path)
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "goes on after its last finished epoch" in errors
