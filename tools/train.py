"""Make full runs without a notebook; stopped at any moment, they go on when called again.

    .venv/bin/python tools/train.py baseline --seeds 0-4        # --help lists the options
"""

import argparse
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from fer_helpers.course import COURSE, CourseError


def train(arguments: argparse.Namespace) -> bool:
    """Make all runs that were asked for, here in turn or on several workers; say if all ended."""
    wanted = [(model, seed) for seed in arguments.seeds for model in arguments.model]
    if not (arguments.workers or arguments.scheduler):
        for model, seed in wanted:
            train_one(model, seed, arguments)
        return True
    from dask.distributed import Client, as_completed

    options = [f"--{name.replace('_', '-')}={vars(arguments)[name]}" for name in (
        "data", "train_per_class", "test_per_class", "output", "epochs", "batch_size")
        if vars(arguments)[name]]
    commands = [[model, f"--seeds={seed}", *options] for model, seed in wanted]
    failed = 0
    # Dask replaces a worker that dies, and the run goes on from its checkpoint.
    here = {"n_workers": arguments.workers, "threads_per_worker": 1, "memory_limit": None,
            "dashboard_address": None, "silence_logs": logging.ERROR}
    with Client(arguments.scheduler) if arguments.scheduler else Client(**here) as client:
        for future in as_completed(client.map(train_apart, commands, pure=False)):
            failed += future.status == "error"
            print(future.exception() or future.result(), flush=True)
    return not failed


def train_apart(command: list[str]) -> str:
    """Make one run in a process of its own, which ends if this one does; return what it was.

    Keras draws the seeds of its layers from Python's random numbers. Dask's threads draw from them
    too: in their process, a run would never be the same again.
    """
    from fer_helpers.course import COURSE, CourseError  # the worker's, perhaps of another machine

    program = [sys.executable, COURSE / "tools" / "train.py"]
    with subprocess.Popen([*program, *command, "--tied"], stdin=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, cwd=COURSE) as process:
        errors = process.stderr.read()
    if process.returncode:
        raise CourseError(f"{' '.join(command)}: {errors.strip()}")
    return f"Finished: {' '.join(command)}"


def train_one(model: str, seed: int, arguments: argparse.Namespace) -> None:
    """Make one run of an experiment and save it; go on where a stopped one ended."""
    from fer_helpers import dataset as ds
    from fer_helpers import training

    if arguments.tied:  # end when the other end of the pipe is closed
        threading.Thread(target=lambda: (sys.stdin.read(), os._exit(1)), daemon=True).start()
    dataset = ds.find_dataset()
    sizes = ds.FIXTURE_SIZES if dataset.is_fixture else ds.REPORT_SIZES
    per_class = {split: getattr(arguments, f"{split}_per_class") or sizes[split] for split in sizes}
    folder = arguments.output or COURSE / "runs" / dataset.name
    save_to = folder / f"{model}_seed{seed}.npz"
    build, differences = training.EXPERIMENTS[model]
    if arguments.epochs:
        differences = differences | {"epochs": arguments.epochs}
    settings = training.Settings(batch_size=arguments.batch_size, seed=seed, **differences)
    data = ds.load_balanced(dataset, per_class)
    if model == "baseline_crowd":
        data = ds.learn_from_crowd(data, ds.votes_of(dataset))
    elif model.startswith("compact"):
        data = ds.smooth_labels(data)
    name = f"{save_to.stem}  " if arguments.tied else ""
    run = training.train(build, data, settings, save_to=save_to,
                         log=lambda line: print(f"{name}{line}", flush=True))
    print(f"{name}Test accuracy {run.accuracy:.2%} with the weights of epoch "
          f"{run.about['kept_epoch']}")
    print(f"{name}It is in {save_to}", flush=True)


def count(text: str) -> int:
    """Read a number of at least one."""
    if int(text) < 1:
        raise ValueError
    return int(text)


def seeds(text: str) -> list[int]:
    """Read a seed, such as 3, or several, such as 0-4."""
    first, _, last = text.partition("-")
    found = list(range(int(first), int(last or first) + 1))
    if not found or found[-1] > 999:
        raise ValueError
    return found


def stop(*_) -> None:
    """End at once: files are whole at every moment, and an exception can get lost in libraries."""
    print("Stopped. A training goes on after its last finished epoch if called again.",
          file=sys.stderr, flush=True)
    os._exit(130)


def main() -> int:
    """Train what was asked for; return the exit status."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, stop)  # Ctrl-C
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--data", type=lambda text: Path(text).absolute(),
                        help="folder, zip or CSV; otherwise as in notebooks")
    parser.add_argument("--train-per-class", type=count, help="of each class; otherwise 2999")
    parser.add_argument("--test-per-class", type=count, help="of each class; otherwise 599")
    parser.add_argument("--output", type=lambda text: Path(text).absolute(),
                        help="folder; otherwise runs/<dataset>")
    parser.add_argument("model", nargs="+",
                        choices=["baseline", "final", "ablation", "baseline_crowd",
                                 "compact_10", "compact_22", "compact_88"])
    parser.add_argument("--seeds", type=seeds, metavar="0-4", default="0",
                        help="one or several, up to 999: of weights, order of images, augmentation "
                             "and dropout")
    parser.add_argument("--epochs", type=count,
                        help="at most; otherwise 20, and what its name says for a compact network")
    parser.add_argument("--batch-size", type=count, default=64, help="images a step")
    parser.add_argument("--workers", type=count, help="processes here that share the runs")
    parser.add_argument("--tied", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--scheduler",
                        help="address of a Dask scheduler whose workers share the runs")
    arguments = parser.parse_args()
    if arguments.data:
        os.environ["FER_DATA"] = str(arguments.data)
    try:
        return 0 if train(arguments) else 1
    except CourseError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
