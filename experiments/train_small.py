"""Train the small network that notebook 4 looks into: a minute on the fixture.

    python experiments/train_small.py [file]      # default: data/small.keras, which must not exist

Three small blocks of one convolution, so that the file stays small.
"""

import sys
from pathlib import Path

from fer_helpers import dataset as ds
from fer_helpers import models
from fer_helpers.course import COURSE
from fer_helpers.training import Settings, fresh_start
from machinery.keras_quietly import keras

EPOCHS, BATCH, SEED = 30, 8, 0


def build_small():
    """16, 32 and 32 filters, a hidden layer of 32."""
    return keras.Sequential([
        keras.Input((48, 48, 1)),
        *models.conv_block(16), *models.conv_block(32), *models.conv_block(32),
        *models.classifier(32, dropout=0.25),
    ], name="small")


def main(target: Path) -> None:
    """Train on the balanced fixture and save the network without its preprocessing."""
    train, test, *_ = ds.load_balanced(ds.Dataset(ds.FIXTURE), ds.FIXTURE_SIZES)
    fresh_start(SEED)
    network = build_small()
    model = models.with_preprocessing(network, {"horizontal_flip": True, "rotation": 10.0}, SEED)
    model.compile(optimizer=keras.optimizers.Adam(Settings().learning_rate * 10),
                  loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(train.images, train.labels, batch_size=BATCH, epochs=EPOCHS, verbose=0)
    _, accuracy = model.evaluate(test.images, test.labels, verbose=0)
    network.save(target)
    print(f"{network.count_params():,} parameters, accuracy {accuracy:.1%} on the fixture's test "
          f"images, saved as {target}")


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else COURSE / "data" / "small.keras"
    if target.exists():
        sys.exit(f"{target} exists already. Remove it first, or name another file.")
    main(target)
