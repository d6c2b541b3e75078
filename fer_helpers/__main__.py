"""The command line: ``python -m fer_helpers check`` or ``train MODEL``."""

import argparse
import os
import signal
import sys
from pathlib import Path

from fer_helpers.check import check
from fer_helpers.course import COURSE, CourseError


def train(arguments: argparse.Namespace) -> None:
    """Make one run of an experiment and save it; go on where a stopped one ended."""
    from fer_helpers import dataset as ds
    from fer_helpers import training

    dataset = ds.find_dataset()
    sizes = ds.FIXTURE_SIZES if dataset.is_fixture else ds.REPORT_SIZES
    per_class = {split: getattr(arguments, f"{split}_per_class") or sizes[split] for split in sizes}
    folder = arguments.output or COURSE / "runs" / dataset.name
    save_to = folder / f"{arguments.model}_seed{arguments.seed}.npz"
    build, differences = training.EXPERIMENTS[arguments.model]
    settings = training.Settings(epochs=arguments.epochs, batch_size=arguments.batch_size,
                                 seed=arguments.seed, **differences)
    data = ds.load_balanced(dataset, per_class)
    if arguments.model == "baseline_crowd":
        data = ds.learn_from_crowd(data, ds.votes_of(dataset))
    run = training.train(build, data, settings, save_to=save_to,
                         log=lambda line: print(line, flush=True))
    print(f"Test accuracy {run.accuracy:.2%} with the weights of epoch {run.about['kept_epoch']}")
    print(f"It is in {save_to}")


def count(text: str) -> int:
    """Read a number of at least one."""
    if int(text) < 1:
        raise ValueError
    return int(text)


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
    one.add_argument("--data", type=Path, help="folder, zip or CSV; otherwise as in notebooks")
    one.add_argument("--train-per-class", type=count, help="of each class; otherwise 2999")
    one.add_argument("--test-per-class", type=count, help="of each class; otherwise 599")
    one.add_argument("--output", type=Path, help="folder; otherwise runs/<dataset>")
    one.add_argument("model", choices=["baseline", "final", "ablation", "baseline_crowd"])
    one.add_argument("--seed", type=int, choices=range(1000), metavar="0..999", default=0,
                     help="of weights, order of images, augmentation and dropout")
    one.add_argument("--epochs", type=count, default=20, help="at most")
    one.add_argument("--batch-size", type=count, default=64, help="images a step")
    arguments = parser.parse_args()
    if getattr(arguments, "data", None):
        os.environ["FER_DATA"] = str(arguments.data.absolute())
    try:
        return 1 if arguments.run(arguments) is False else 0
    except CourseError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
