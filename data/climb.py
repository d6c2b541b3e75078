"""Climb the ladder of notebook 10, on FER-2013: one change at a time, judged on validation images.

    python data/climb.py                            # all rungs; never looks at the test images
    python data/climb.py compact_22 --seeds 0 1 2   # opens the test, for a network chosen before

Each try goes into the table data/reference/ladder.csv, where notebook 10 reads it, and is kept as a
run in runs/ladder. A stopped climb goes on; what is in the table is not made again.
"""

import argparse
import functools
import itertools
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupShuffleSplit

from fer_helpers import copies, models, training
from fer_helpers import dataset as ds
from fer_helpers.augmentation import REPORT_AUGMENTATION
from fer_helpers.course import COURSE, EMOTIONS, REFERENCE, write_whole
from fer_helpers.keras_quietly import keras

SIZES = {"train": 2499, "test": 500}  # five sixths of the report's 2,999; "test" is validation
TABLE = REFERENCE / "ladder.csv"
STEPS = 20 * (17_994 // 64)  # of the report's training


@dataclass(frozen=True)
class Rung:
    """One change, on top of all changes before it that were kept."""

    change: str
    settings: dict = field(default_factory=dict)
    network: dict = field(default_factory=dict)  # options of build_compact
    data: dict = field(default_factory=dict)  # "images": "all", "targets": "smooth" or "crowd"
    kept: bool = True


LADDER = [
    Rung("a small network, trained as in the report",
         {"epochs": 8, "patience": None, "both_ways": True},
         {"flatten": True, "l2": 0.01, "even_light": False}),
    Rung("averages instead of flattening", network={"flatten": False}),
    Rung("smaller images, growing", {"sizes": (24, 32, 32, 32)}),
    Rung("a rate in one cycle", {"one_cycle": True, "learning_rate": 0.003}),
    Rung("decay instead of the penalty", {"weight_decay": 0.05}, {"l2": 0.0}),
    Rung("smoothed labels", data={"targets": "smooth"}),
    Rung("a smaller warp", {"augmentation": training.SMALL_WARP}),
    Rung("mirroring only", {"augmentation": {"horizontal_flip": True}}, kept=False),
    Rung("brightness and contrast taken out", network={"even_light": True}),
    Rung("all training images, as many steps", {"epochs": 5}, data={"images": "all"}, kept=False),
    Rung("the crowd's shares", data={"targets": "crowd"}, kept=False),
]


def standing_on(rung: int) -> Rung:
    """Return all that holds on a rung: its own change and the kept ones below it."""
    below = [one for one in LADDER[:rung] if one.kept] + [LADDER[rung]]
    return Rung(LADDER[rung].change, *(
        {name: value for one in below for name, value in getattr(one, what).items()}
        for what in ("settings", "network", "data")))


def hold_out(index: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Take a sixth of *train* away for validation: what choices are made on instead of *test*.

    ``index`` is from ``copies.mark_copies``, or ``identity.images``. Copies of a picture stay
    together, so that none is in both parts. Returns the rows of the six classes in *train*; their
    ``split`` is now ``train`` or, for validation, ``test``.
    """
    index = index[(index["split"] == "train") & index["emotion"].isin(EMOTIONS)]
    parts = GroupShuffleSplit(1, test_size=1 / 6, random_state=seed)
    _, held = next(parts.split(index, groups=index["group"]))
    return index.assign(split=np.where(np.isin(np.arange(len(index)), held), "test", "train"))


def prepare(dataset: ds.Dataset, images: str = "balanced", targets: str = "labels") -> ds.Balanced:
    """Load training and validation images, and change the targets."""
    index = hold_out(copies.mark_copies(dataset))
    kept = ds.balance(index, SIZES)
    if images == "all":
        kept = index[(index["split"] == "train") | index.index.isin(kept.index)]
    data = ds.Balanced(
        *(ds.load_images(dataset, kept[kept["split"] == split]) for split in ds.SPLITS),
        {"dataset": dataset.name, "form": dataset.form, "fingerprint": ds.fingerprint(kept)})
    if targets == "smooth":
        return ds.smooth_labels(data)
    return ds.learn_from_crowd(data, ds.votes_of(dataset)) if targets == "crowd" else data


def report_step(times: int = 3) -> float:
    """Return the CPU-seconds of one training step of the report's final network, as it was made."""
    model = models.with_preprocessing(models.build_final(), REPORT_AUGMENTATION, seed=0)
    model.compile(optimizer=keras.optimizers.Adam(1e-4), loss="sparse_categorical_crossentropy",
                  metrics=["accuracy"])
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (64, 48, 48, 1), dtype=np.uint8)
    labels = rng.integers(0, len(EMOTIONS), 64)
    model.train_on_batch(images, labels)  # compiles
    started = time.process_time()
    for _ in range(times):
        model.train_on_batch(images, labels)
    return (time.process_time() - started) / times


def make(name: str, seed: int, dataset: ds.Dataset, save_to: Path) -> training.Run:
    """Train on a rung and validate, or train a chosen network, test it and save its weights."""
    if chosen := name in training.EXPERIMENTS:
        build, settings = training.EXPERIMENTS[name]
        data = ds.smooth_labels(ds.load_balanced(dataset, ds.REPORT_SIZES))
    else:
        place = standing_on(int(name.removeprefix("rung")))
        build, settings = functools.partial(models.build_compact, **place.network), place.settings
        data = prepare(dataset, **place.data)
    built = []
    run = training.train(lambda: built.append(build()) or built[0], data,
                         training.Settings(**settings | {"seed": seed}),
                         save_to=save_to, log=lambda line: print(line, flush=True))
    if chosen:
        built[0].save(save_to.with_suffix(".keras"))
    return run


def row(name: str, run: training.Run, step: float) -> pd.DataFrame:
    """Return what the notebook shows of one try, one row."""
    rung = LADDER[int(name.removeprefix("rung"))] if name.startswith("rung") else None
    seconds = run.history["cpu_seconds"].sum()
    return pd.DataFrame([{
        "rung": LADDER.index(rung) if rung else len(LADDER), "name": name,
        "change": rung.change if rung else "", "kept": rung.kept if rung else True,
        "seed": run.settings["seed"], "accuracy": run.history["val_accuracy"].iloc[-1],
        "both_ways": run.accuracy, "train_accuracy": run.about["train_accuracy"],
        "cpu_seconds": round(seconds, 1), "report_step": round(step, 3),
        "compute": seconds / (STEPS * step),  # 1 is the report's training
        "processor": run.about["machines"][-1]["processor"],
    }]).round(5)


def read_table() -> pd.DataFrame:
    """Return the tries so far."""
    return pd.read_csv(TABLE) if TABLE.exists() else pd.DataFrame(columns=["name", "seed"])


def main() -> None:
    """Make the tries that were asked for and are not there, then write the table of all."""
    rungs = [f"rung{number}" for number in range(len(LADDER))]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=rungs)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--folder", type=Path, default=COURSE / "runs" / "ladder")
    arguments = parser.parse_args()
    dataset, step = ds.find_dataset(), report_step()
    print(f"A step of the report's network takes {step:.2f} CPU-seconds", flush=True)
    for name, seed in itertools.product(arguments.names, arguments.seeds):
        if (name, seed) in read_table()[["name", "seed"]].itertuples(index=False, name=None):
            continue
        print(f"{name}, seed {seed}", flush=True)
        run = make(name, seed, dataset, arguments.folder / f"{name}_seed{seed}.npz")
        table = pd.concat([read_table(), row(name, run, step)])  # read anew: two may climb at once
        table = table.astype({"rung": int, "seed": int}).sort_values(["rung", "name", "seed"])
        write_whole(TABLE, table.to_csv(index=False).encode())
        print(table.tail().to_string(), flush=True)


if __name__ == "__main__":
    main()
