"""Climb the ladder of notebook 10, on FER-2013: one change at a time, judged on validation images.

    python experiments/ladder.py                            # all rungs, judged on validation images
    python experiments/ladder.py compact_22 --seeds 0 1 2   # opens the test, chosen before

Each try goes into the table data/reference/ladder.csv, where notebook 10 reads it, and is kept as a
run in runs/ladder. A stopped climb goes on; what is in the table is not made again.
"""

import argparse
import itertools
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.plan import ALL, LADDER, RUNGS, Rung
from fer_helpers import dataset as ds
from fer_helpers import models, training
from fer_helpers.augmentation import REPORT_AUGMENTATION
from fer_helpers.course import COURSE, EMOTIONS, REFERENCE
from machinery.files import write_whole
from machinery.keras_quietly import keras

TABLE = REFERENCE / "ladder.csv"
STEPS = 20 * (17_994 // 64)  # of the report's training


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
    experiment, built, new = ALL[name], [], not save_to.exists()
    run = training.train(lambda: built.append(experiment.build()) or built[0],
                         experiment.data(dataset, ds.REPORT_SIZES),
                         training.Settings(**experiment.settings, seed=seed),
                         recipe=experiment.recipe, save_to=save_to,
                         log=lambda line: print(line, flush=True))
    if name not in RUNGS and new:  # of a run that was finished before, the weights are gone
        built[0].save(save_to.with_suffix(".keras"))
    return run


def row(name: str, run: training.Run, step: float) -> pd.DataFrame:
    """Return what the notebook shows of one try, one row."""
    number = RUNGS.index(name) if name in RUNGS else len(LADDER)
    rung = LADDER[number] if name in RUNGS else Rung("")
    seconds = run.history["cpu_seconds"].sum()
    return pd.DataFrame([{
        "rung": number, "name": name, "change": rung.change, "kept": rung.kept,
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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=RUNGS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--folder", type=Path, default=COURSE / "runs" / "ladder")
    arguments = parser.parse_args()
    dataset = ds.find_dataset()
    if dataset.name != "fer2013":
        sys.exit(f"{dataset.root} is not the original FER-2013. Set FER_DATA.")
    step = report_step()
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
