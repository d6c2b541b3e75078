"""`tools/train.py`: in this process, and as one that can be killed."""

import contextlib
import multiprocessing
import os
import random
import signal
import sys
import time

import check
import numpy as np
import pandas as pd
import psutil
import pytest
import train

from fer_helpers.dataset import FIXTURE
from fer_helpers.runs import load_run

resource = pytest.importorskip("resource", reason="Windows sends no signals")
SMALL = ["--epochs=5", "--batch-size=36", "--train-per-class=30", "--test-per-class=12"]
FORKS = multiprocessing.get_context("forkserver")
PROGRAMS = []
FORKS.set_forkserver_preload(["experiments.plan", "fer_helpers.training"])


def be_the_program(changes, *words, output, errors):
    os.dup2(output.fileno(), 1)
    os.dup2(errors.fileno(), 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also if pytest is in the background
    for name, value in changes.items():
        setattr(train, name, value)
    sys.argv = ["train", *words]
    sys.exit(train.main())


class Program:
    """The program as a process: forked where Keras is loaded already, which takes seconds."""

    def __init__(self, folder, *words, **changes):
        pipes = {name: FORKS.Pipe(duplex=False) for name in ("output", "errors")}
        self.process = FORKS.Process(
            target=be_the_program, args=(changes, "baseline", *SMALL, f"--output={folder}", *words),
            kwargs={name: ends[1] for name, ends in pipes.items()})
        self.process.start()
        PROGRAMS.append(self.process)
        for name, (mine, its) in pipes.items():
            its.close()
            setattr(self, name, os.fdopen(os.dup(mine.fileno()), encoding="utf-8"))

    def end(self, signal=None):
        """Wait for it, or send a signal first; return its status and all that it still says."""
        if signal:
            os.kill(self.process.pid, signal)
        with self.output, self.errors:
            said = self.output.read(), self.errors.read()
        self.process.join()
        return self.process.exitcode, *said


@pytest.fixture(autouse=True)
def nothing_is_left():
    yield
    while PROGRAMS:
        PROGRAMS.pop().kill()


def finish(folder):
    status, output, errors = Program(folder).end()
    assert status == 0, errors
    return output, load_run(folder / "baseline_seed0.npz")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    output, run = finish(tmp_path_factory.mktemp("whole"))
    assert output.count("Epoch ") == 5
    return run


def test_killed_at_a_random_moment_it_ends_with_the_same_numbers(whole, tmp_path):
    """After two epochs and a random part of the next one, or of a write."""
    part, ends, program = random.SystemRandom().random(), [], Program(tmp_path)
    for _ in range(2):
        assert program.output.readline().startswith("Epoch")
        ends.append(time.monotonic())
    time.sleep(part * (ends[1] - ends[0]))
    assert program.end(signal.SIGKILL)[0] == -signal.SIGKILL, part
    output, resumed = finish(tmp_path)
    assert "Going on after epoch" in output, part
    numbers, expected = (run.history.drop(columns=["seconds", "cpu_seconds"])
                         for run in (resumed, whole))
    pd.testing.assert_frame_equal(numbers, expected, check_exact=True)
    np.testing.assert_array_equal(resumed.probabilities, whole.probabilities)
    left = [path.name for path in tmp_path.iterdir() if path.suffix != ".partial"]
    assert left == ["baseline_seed0.npz"], part


def test_control_c_says_how_to_go_on(tmp_path):
    program = Program(tmp_path)
    program.output.readline()
    status, _, errors = program.end(signal.SIGINT)
    assert status == 130
    assert "goes on after its last finished epoch" in errors


PRETENDING = """if True:
    import runpy, sys, time
    from types import SimpleNamespace as Names
    from machinery.files import CourseError

    def train(build, data, settings, save_to, log, **_):
        log(f"{data} {settings}")
        begun = save_to.with_suffix(".checkpoint")
        if save_to.exists():
            raise CourseError(f"{save_to.name} is not a complete run")
        if not begun.exists():
            begun.touch()
            log("Epoch  1/3")
            time.sleep(600)
        log("Going on after epoch 1")
        begun.rename(save_to)
        return Names(accuracy=0.5, about={"kept_epoch": 3})

    made = Names(build=0, recipe=0, settings={}, data=lambda _, per_class: per_class)
    sys.modules["fer_helpers.training"] = Names(train=train, Settings=dict)
    sys.modules["experiments.plan"] = Names(ALL={"baseline": made}, LISTS={})
    runpy.run_path("tools/train.py", run_name="__main__")
"""


def test_two_workers_share_the_runs_and_may_be_killed(tmp_path):
    """The trainings pretend. One fails: that stops no other, and what lies in its place stays."""
    (tmp_path / "pretending.py").write_text(PRETENDING)
    (tmp_path / "baseline_seed1.npz").write_bytes(b"mine")
    program = Program(tmp_path, "--seeds=0-1", "--workers=2", foretell=print,
                      PROGRAM=str(tmp_path / "pretending.py"))
    lines = []
    while "seed0  Epoch  1" not in "".join(lines):
        lines.append(program.output.readline())
        assert lines[-1], program.end()
    trainings = []
    for child in psutil.Process(program.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):  # that of seed 1 may end meanwhile
            if "--tied" in child.cmdline():
                child.parent().kill()
                trainings.append(child)
    assert not psutil.wait_procs(trainings, timeout=60)[1], "they end with their workers"
    status, output, errors = program.end()
    assert status == 1, errors
    assert "seed0  {'train': 30, 'test': 12} {'batch_size': 36, 'seed': 0, 'epochs': 5}" in output
    assert "seed0  Going on after epoch" in output and "seed0  Test accuracy 50.00%" in output
    assert "baseline_seed1.npz is not a complete run" in "".join(lines) + output
    assert (tmp_path / "baseline_seed1.npz").read_bytes() == b"mine"
    assert (tmp_path / "baseline_seed0.npz").exists()


# In this process, where TensorFlow is loaded already.

@pytest.fixture
def call(monkeypatch, tmp_path, capsys):
    """Call the program; return its status and its errors: at most one line."""
    monkeypatch.setenv("FER_DATA", str(FIXTURE))  # the program sets it, too
    monkeypatch.setattr(train.signal, "signal", lambda *_: None)

    def run(*words):
        words = [*words, "--epochs=1", f"--output={tmp_path}"]
        monkeypatch.setattr(sys, "argv", ["train", *words])
        status = train.main()
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) < 2
        return status, "".join(lines)
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


def test_the_hours_of_several_runs_are_foretold(monkeypatch, tmp_path, capsys):
    """An epoch of 30 faces a class takes an hour here; one of the three runs is there already."""
    monkeypatch.setenv("FER_RUNS", str(tmp_path))
    (tmp_path / "fixture").mkdir()
    (tmp_path / "fixture" / "baseline_seed1.npz").touch()
    monkeypatch.setattr(check, "timed", lambda *_, **__: (None, 3600 * 2999 / 30))
    monkeypatch.setattr(sys, "argv", ["train", "baseline", "--seeds=0-2", "--epochs=2"])
    arguments = train.read_arguments()
    train.foretell(train.wanted(arguments), arguments)
    assert capsys.readouterr().out == "2 runs: about 4.0 hours of training one after the other.\n"


@pytest.mark.parametrize("option", ["--epochs=0", "--batch-size=0", "--train-per-class=-3",
                                    "--test-per-class=x", "--seeds=-1", "--seeds=3-2",
                                    "--seeds=0-1000", "--workers=0", "--minutes=0"])
def test_impossible_numbers(call, tmp_path, capsys, option):
    with pytest.raises(SystemExit) as end:
        call("baseline", option)
    assert end.value.code == 2
    assert f"argument {option.split('=')[0]}: invalid" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
