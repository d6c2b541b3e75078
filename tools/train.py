"""Make full runs without a notebook; stopped at any moment, they go on when called again.

    .venv/bin/python tools/train.py baseline --seeds 0-4        # --help lists the options
    .venv/bin/python tools/train.py @gpu --workers 3 --minutes 25 --output finished

The names are those of experiments/plan.py; @cpu and @gpu are lists of runs, in their order.
"""

import argparse
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # also where nothing is installed

from fer_helpers.course import course_path
from machinery.files import CourseError

# Products of matrices in full float32, whatever the GPU; and several trainings share one.
os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "highest")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


PROGRAM = "tools/train.py"  # in the folder of the course, here or on a worker's machine


def wanted(arguments: argparse.Namespace) -> list[tuple[str, int]]:
    """Return the runs that were asked for, name and seed, each once."""
    from experiments.plan import ALL, LISTS

    runs = []
    for name in arguments.model:
        if name.startswith("@") and name[1:] in LISTS:
            runs += LISTS[name[1:]]
        elif name in ALL:
            runs += [(name, seed) for seed in arguments.seeds]
        else:
            raise CourseError(f"There is no training {name}. The names are {', '.join(ALL)}, and "
                              f"the lists @{', @'.join(LISTS)}.")
    return list(dict.fromkeys(runs))


def train(runs: list[tuple[str, int]], arguments: argparse.Namespace) -> bool:
    """Make all runs, here in turn or on several workers; say if all ended well."""
    if not (arguments.workers or arguments.scheduler):
        for model, seed in runs:
            train_one(model, seed, arguments)
        return True
    from dask.distributed import Client, as_completed

    options = [f"--{name.replace('_', '-')}={value}" for name in (
        "data", "train_per_class", "test_per_class", "output", "epochs", "batch_size")
        if (value := vars(arguments)[name])]
    options += ["--other-versions"] * arguments.other_versions
    commands = [[PROGRAM, model, f"--seeds={seed}", *options] for model, seed in runs]
    failed, started = 0, time.monotonic()
    # Dask replaces a worker that dies, and the run goes on from its checkpoint.
    here = {"n_workers": arguments.workers, "threads_per_worker": 1, "memory_limit": None,
            "dashboard_address": None, "silence_logs": logging.ERROR}
    with Client(arguments.scheduler) if arguments.scheduler else Client(**here) as client:
        futures = client.map(train_apart, commands, pure=False)
        for done, future in enumerate(as_completed(futures), 1):
            failed += future.status == "error"
            left = (time.monotonic() - started) / done * (len(runs) - done) / 60
            print(future.exception() or future.result(),
                  f"  {done} of {len(runs)}, about {left:.0f} min left" * (left > 1), flush=True)
    return not failed


def train_apart(command: list[str]) -> str:
    """Call the program for one run; its process ends if this one does. Return what was made.

    Keras draws the seeds of its layers from Python's random numbers. Dask's threads draw from them
    too: in their process, a run would never be the same again.
    """
    from fer_helpers.course import COURSE  # the worker's, perhaps of another machine
    from machinery.files import CourseError

    with subprocess.Popen([sys.executable, *command, "--tied"], stdin=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, cwd=COURSE) as process:
        errors = process.stderr.read()
    if process.returncode:
        raise CourseError(f"{' '.join(command[1:])}: {errors.strip()}")
    return f"Finished: {' '.join(command[1:])}"


def train_one(model: str, seed: int, arguments: argparse.Namespace) -> None:
    """Make one run of an experiment and save it; go on where a stopped one ended."""
    from experiments.plan import ALL
    from fer_helpers import dataset as ds
    from fer_helpers import training

    if arguments.tied:  # end when the other end of the pipe is closed
        threading.Thread(target=lambda: (sys.stdin.read(), os._exit(1)), daemon=True).start()
    dataset, experiment = ds.find_dataset(), ALL[model]
    folder, per_class = folder_and_sizes(dataset, arguments)
    save_to = folder / f"{model}_seed{seed}.npz"
    differences = experiment.settings
    if arguments.epochs:
        differences = differences | {"epochs": arguments.epochs}
    settings = training.Settings(batch_size=arguments.batch_size, seed=seed, **differences)
    name = f"{save_to.stem}  " if arguments.tied else ""
    run = training.train(experiment.build, experiment.data(dataset, per_class), settings,
                         recipe=experiment.recipe, save_to=save_to,
                         other_versions=arguments.other_versions,
                         log=lambda line: print(f"{name}{line}", flush=True))
    print(f"{name}Test accuracy {run.accuracy:.2%} with the weights of epoch "
          f"{run.about['kept_epoch']}")
    print(f"{name}It is in {save_to}", flush=True)


def folder_and_sizes(dataset, arguments: argparse.Namespace) -> tuple[Path, dict[str, int]]:
    """Return where the runs are kept, and how many images of each class they take."""
    from fer_helpers.dataset import FIXTURE_SIZES, REPORT_SIZES

    sizes = FIXTURE_SIZES if dataset.is_fixture else REPORT_SIZES
    return arguments.output or course_path("FER_RUNS", "runs") / dataset.name, {
        split: getattr(arguments, f"{split}_per_class") or sizes[split] for split in sizes}


def foretell(runs: list[tuple[str, int]], arguments: argparse.Namespace) -> None:
    """Say how long a list of runs will take here, from a short training of each kind.

    Runs that are finished take no time.
    """
    from check import timed

    from experiments.plan import ALL
    from fer_helpers.dataset import REPORT_SIZES, find_dataset
    from fer_helpers.training import Settings

    folder, sizes = folder_and_sizes(find_dataset(), arguments)
    runs = [(name, seed) for name, seed in runs
            if not (folder / f"{name}_seed{seed}.npz").exists()]
    share = sizes["train"] / REPORT_SIZES["train"]
    epoch: dict[tuple, float] = {}  # seconds, by what they depend on
    seconds = 0.0
    for name, _ in runs:
        experiment = ALL[name]
        key = experiment.build().count_params(), experiment.recipe
        if key not in epoch:
            epoch[key] = timed(experiment.build, arguments.batch_size, recipe=experiment.recipe)[1]
        seconds += share * epoch[key] * (arguments.epochs or Settings(**experiment.settings).epochs)
    jobs = arguments.workers or 1
    shared = f", shared by {jobs}. What they gain by that depends on the machine"
    print(f"{len(runs)} runs: about {seconds / 3600:.1f} hours of training one after the other"
          f"{shared if jobs > 1 else ''}.", flush=True)


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


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    add("model", nargs="+", help="baseline, final, ablation, another name of the plan, or a list")
    add("--data", type=lambda text: Path(text).absolute(),
        help="folder, zip or CSV; otherwise as in notebooks")
    add("--train-per-class", type=count, help="images of each class; otherwise 2999, drawn 30")
    add("--test-per-class", type=count, help="images of each class; otherwise 599, drawn 12")
    add("--output", type=lambda text: Path(text).absolute(),
        help="folder; otherwise FER_RUNS, or runs, and there the dataset's name")
    add("--seeds", type=seeds, metavar="0-4", default="0",
        help="one or several, up to 999 (default 0): of weights,\n"
             "order of images, augmentation and dropout")
    add("--epochs", type=count, help="at most; otherwise what the plan says")
    add("--batch-size", type=count, default=64, help="images a step (default 64)")
    add("--workers", type=count, help="processes here that share the runs")
    add("--scheduler", help="address of a Dask scheduler whose workers share the runs; --data and\n"
                            "--output are then paths of theirs")
    add("--minutes", type=count, help="stop after so long; called again, all goes on")
    add("--other-versions", action="store_true",
        help="go on with a training that was begun with other versions")
    add("--tied", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    """Train what was asked for; return the exit status."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, stop)  # Ctrl-C
    arguments = read_arguments()
    if arguments.data:
        os.environ["FER_DATA"] = str(arguments.data)
    if arguments.minutes:
        timer = threading.Timer(60 * arguments.minutes, stop)
        timer.daemon = True
        timer.start()
    try:
        runs = wanted(arguments)
        if len(runs) > 1 and not arguments.scheduler:  # the dataset may be on the workers alone
            foretell(runs, arguments)
        return 0 if train(runs, arguments) else 1
    except CourseError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
