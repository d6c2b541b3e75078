"""Try settings for the baseline, which the report does not give: a few epochs each, on FER-2013.

    python experiments/try_baselines.py [folder]        # default: runs/tries; stopped, it goes on

Each try is kept as a run in the folder. The table of all of them goes to
data/reference/baseline_tries.csv, where notebook 3 reads it.
"""

import sys
from itertools import product
from pathlib import Path

import pandas as pd

from fer_helpers import dataset as ds
from fer_helpers import models, training
from fer_helpers.augmentation import REPORT_AUGMENTATION
from fer_helpers.course import COURSE, REFERENCE

EPOCHS = 4
AUGMENTATIONS = {"mirroring only": {"horizontal_flip": True}, "report's": dict(REPORT_AUGMENTATION)}
TRIES = [*product(["mirroring only"], (0.25, 0.5), (3e-4, 1e-3)),
         *product(["report's"], (0.25,), (3e-4, 1e-3))]


def main(folder: Path) -> None:
    """Train each combination from seed 0 and write the table."""
    data = ds.load_balanced(ds.find_dataset(), ds.REPORT_SIZES)
    rows = []
    for name, dropout, rate in TRIES:
        augmentation = AUGMENTATIONS[name]
        settings = training.Settings(epochs=EPOCHS, learning_rate=rate, patience=None,
                                     augmentation=augmentation)
        file = folder / f"try_{rate:g}_{dropout}_{len(augmentation)}.npz"
        print(rate, dropout, name, flush=True)
        run = training.train(lambda rate=dropout: models.build_baseline(rate), data, settings,
                             save_to=file, log=lambda line: print(line, flush=True))
        last = run.history.iloc[-1]
        rows.append({"learning_rate": rate, "dropout": dropout, "augmentation": name,
                     "epochs": EPOCHS, "train_loss": last["loss"],
                     "test_accuracy": last["val_accuracy"],
                     "best_test_accuracy": run.history["val_accuracy"].max()})
    table = pd.DataFrame(rows).round(4)
    table.to_csv(REFERENCE / "baseline_tries.csv", index=False)
    print(table.to_string())


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else COURSE / "runs" / "tries")
