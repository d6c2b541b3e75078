"""The command line: ``python -m fer_helpers check`` and ``python -m fer_helpers train MODEL``."""

import argparse
import os
import sys
from pathlib import Path

from fer_helpers.check import check
from fer_helpers.emotions import COURSE, CourseError


def train(arguments: argparse.Namespace) -> bool:
    """Make one run of an experiment and save it; go on where a stopped one ended."""
    from fer_helpers import dataset as ds
    from fer_helpers import training

    if arguments.data:
        os.environ["FER_DATA"] = str(arguments.data.absolute())
    dataset = ds.find_dataset()
    folder = arguments.output or COURSE / "runs" / dataset.name
    save_to = folder / f"{arguments.model}_seed{arguments.seed}.npz"
    per_class = {"train": arguments.train_per_class, "test": arguments.test_per_class}
    kept = ds.balance(ds.index_images(dataset), per_class)
    sets = (ds.load_images(dataset, kept[kept["split"] == split]) for split in ds.SPLITS)

    build, differences = training.EXPERIMENTS[arguments.model]
    settings = training.Settings(epochs=arguments.epochs, batch_size=arguments.batch_size,
                                 seed=arguments.seed, **differences)
    about = {"dataset": dataset.name, "fingerprint": ds.fingerprint(kept)}
    run = training.train(build, *sets, settings, about=about, save_to=save_to,
                         log=lambda line: print(line, flush=True))
    print(f"Test accuracy {run.accuracy:.2%} with the weights of epoch {run.about['kept_epoch']}")
    print(f"It is in {save_to}")
    return True


def count(text: str) -> int:
    """Read a number of at least one."""
    if int(text) < 1:
        raise ValueError
    return int(text)


def main() -> int:
    """Run the chosen command; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m fer_helpers", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("check", help="say what is ready and what is missing")
    one.set_defaults(run=lambda _: check())
    one = commands.add_parser(
        "train", help="make one full run; stopped at any moment, it goes on when called again",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    one.set_defaults(run=train)
    one.add_argument("model", choices=["baseline", "final", "ablation"])
    one.add_argument("--data", type=Path, help="dataset folder; otherwise as in the notebooks")
    one.add_argument("--seed", type=int, choices=range(1000), metavar="0..999", default=0,
                     help="of weights, order of images, augmentation and dropout")
    one.add_argument("--epochs", type=count, default=20, help="at most")
    one.add_argument("--batch-size", type=count, default=64, help="images a step")
    one.add_argument("--train-per-class", type=count, default=2999, help="of each class, kept")
    one.add_argument("--test-per-class", type=count, default=599, help="of each class, kept")
    one.add_argument("--output", type=Path, help="folder of the run; otherwise runs/<dataset>")
    arguments = parser.parse_args()
    try:
        return 0 if arguments.run(arguments) else 1
    except CourseError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped. Call it again to go on after the last finished epoch.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
