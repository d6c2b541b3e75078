"""The command line: ``python -m fer_helpers check`` or ``train MODEL``."""

import argparse
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from fer_helpers.check import check
from fer_helpers.course import COURSE, CourseError


def train(arguments: argparse.Namespace) -> bool:
    """Make all runs that were asked for, here in turn or on several workers; say if all ended."""
    wanted = [(model, seed) for seed in arguments.seeds for model in arguments.model]
    if not (arguments.workers or arguments.scheduler):
        for model, seed in wanted:
            train_one(model, seed, arguments)
        return True
    from dask.distributed import Client, as_completed

    from fer_helpers.__main__ import train_apart as task  # by this name, a worker finds it

    options = [f"--{name.replace('_', '-')}={vars(arguments)[name]}" for name in (
        "data", "train_per_class", "test_per_class", "output", "epochs", "batch_size")
        if vars(arguments)[name]]
    commands = [[model, f"--seeds={seed}", *options] for model, seed in wanted]
    failed = 0
    # Dask replaces a worker that dies, and the run goes on from its checkpoint.
    here = {"n_workers": arguments.workers, "threads_per_worker": 1, "memory_limit": None,
            "dashboard_address": None, "silence_logs": logging.ERROR}
    with Client(arguments.scheduler) if arguments.scheduler else Client(**here) as client:
        for future in as_completed(client.map(task, commands, pure=False)):
            failed += future.status == "error"
            print(future.exception() or future.result(), flush=True)
    return not failed


def train_apart(command: list[str]) -> str:
    """Make one run in a process of its own, which ends if this one does; return what it was.

    Keras draws the seeds of its layers from Python's random numbers. Dask's threads draw from them
    too: in their process, a run would never be the same again.
    """
    command = [sys.executable, "-m", "fer_helpers", "train", *command]
    with subprocess.Popen([*command, "--tied"], stdin=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, cwd=COURSE) as process:
        errors = process.stderr.read()
    if process.returncode:
        raise CourseError(f"{' '.join(command[4:])}: {errors.strip()}")
    return f"Finished: {' '.join(command[4:])}"


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
    settings = training.Settings(epochs=arguments.epochs, batch_size=arguments.batch_size,
                                 seed=seed, **differences)
    data = ds.load_balanced(dataset, per_class)
    if model == "baseline_crowd":
        data = ds.learn_from_crowd(data, ds.votes_of(dataset))
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
    """Run the chosen command; return the exit status."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, stop)  # Ctrl-C
    form = {"formatter_class": argparse.ArgumentDefaultsHelpFormatter}
    parser = argparse.ArgumentParser(prog="python -m fer_helpers", **form)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("check", help="say what is ready and what is missing", **form)
    one.set_defaults(run=lambda _: check())
    one = commands.add_parser("train", help="make one full run; stopped at any moment, it goes on "
                                            "when called again", **form)
    one.set_defaults(run=train)
    one.add_argument("--data", type=lambda text: Path(text).absolute(),
                     help="folder, zip or CSV; otherwise as in notebooks")
    one.add_argument("--train-per-class", type=count, help="of each class; otherwise 2999")
    one.add_argument("--test-per-class", type=count, help="of each class; otherwise 599")
    one.add_argument("--output", type=lambda text: Path(text).absolute(),
                     help="folder; otherwise runs/<dataset>")
    one.add_argument("model", nargs="+",
                     choices=["baseline", "final", "ablation", "baseline_crowd"])
    one.add_argument("--seeds", type=seeds, metavar="0-4", default="0",
                     help="one or several, up to 999: of weights, order of images, augmentation "
                          "and dropout")
    one.add_argument("--epochs", type=count, default=20, help="at most")
    one.add_argument("--batch-size", type=count, default=64, help="images a step")
    one.add_argument("--workers", type=count, help="processes here that share the runs")
    one.add_argument("--tied", action="store_true", help=argparse.SUPPRESS)
    one.add_argument("--scheduler", help="address of a Dask scheduler whose workers share the runs")
    arguments = parser.parse_args()
    if getattr(arguments, "data", None):
        os.environ["FER_DATA"] = str(arguments.data)
    try:
        return 1 if arguments.run(arguments) is False else 0
    except CourseError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
