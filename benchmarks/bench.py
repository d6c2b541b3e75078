"""Time every step of the course beside other ways of doing it; write one table and two plots.

    python benchmarks/bench.py              # `make bench` does it; some minutes
    python benchmarks/bench.py --quick      # seconds; the numbers mean little

The report's way is ``ImageDataGenerator.flow_from_directory`` into ``fit``, in a process of its
own, with oneDNN as TensorFlow chooses, and once more with oneDNN on. Its steps are timed from the
first batch to the last: what ``fit`` waits at its end would not be fair to so few steps. Where
PyTorch is installed (the course does not need it), the same network in plain PyTorch is one more
way, without augmentation. All ways take turns, so that other work on the machine hits them alike.
The images are drawn; with FER_DATA set, that dataset is timed, too.

The share of the peak counts the operations of plain convolutions. The course computes wide ones
with fewer (Winograd's algorithm), so it may come above 1.
"""

import argparse
import functools
import importlib.util
import itertools
import multiprocessing
import os
import platform
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import NullLocator
from PIL import Image

from fer_helpers.course import COURSE, EMOTIONS, IMAGE_SIZE, SPLITS
from fer_helpers.dataset import Dataset, find_dataset
from machinery.files import write_whole

ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
WAYS = {"course": {ONEDNN: "1"}, "report": {}, "report, oneDNN on": {ONEDNN: "1"}}
if importlib.util.find_spec("torch"):  # one process cannot hold both libraries
    WAYS["PyTorch"] = {"KERAS_BACKEND": "torch"}
BATCH, EPOCH = 64, 281  # images a step and steps an epoch of the report


class Sizes(NamedTuple):
    """How much is timed."""

    repeats: int = 5
    steps: int = 2  # training steps at a time
    images: int = 2250  # the smallest dataset; the largest has as many as the report's
    side: int = 3000  # of the matrices whose product is the machine's peak


def timed(function, *arguments) -> tuple[float, float]:
    """Return wall seconds and CPU-seconds of a call."""
    wall, cpu = time.perf_counter(), time.process_time()
    function(*arguments)
    return time.perf_counter() - wall, time.process_time() - cpu


def draw_images(count: int, seed: int = 0) -> np.ndarray:
    """Draw smooth noise, uint8 [count, 48, 48]; about as large as faces when compressed."""
    noise = np.random.default_rng(seed).integers(0, 256, (count, 12, 12), dtype=np.uint8)
    return np.stack([Image.fromarray(one).resize((IMAGE_SIZE, IMAGE_SIZE)) for one in noise])


def draw_folder(root: Path, count: int) -> Path:
    """Write about ``count`` images in Kaggle's layout, a sixth of them for testing."""
    homes = [root / split / emotion for split in SPLITS for emotion in EMOTIONS]
    for home in homes:
        home.mkdir(parents=True)
    turns = itertools.cycle(5 * homes[:len(EMOTIONS)] + homes[len(EMOTIONS):])
    for number, (image, home) in enumerate(zip(draw_images(count), turns, strict=False)):
        Image.fromarray(image).save(home / f"{number:06}.jpg", quality=95)
    return root


# What a process of one way does. Each holds one network, and is asked for steps again and again.

def generator(folder: str, augmentation: dict):
    """Return the report's source of batches."""
    from machinery.keras_quietly import keras

    ranges = {name if name == "horizontal_flip" else f"{name}_range": value
              for name, value in augmentation.items()}
    oracle = keras.src.legacy.preprocessing.image.ImageDataGenerator
    return oracle(rescale=1 / 255, **ranges).flow_from_directory(
        folder, (IMAGE_SIZE, IMAGE_SIZE), "grayscale", batch_size=BATCH)


@functools.cache
def prepared(way: str, network: str, folder: str, steps: int) -> dict:
    """Build a network once; return functions that train some steps and deliver their input.

    They return wall and CPU-seconds.
    """
    if way != "PyTorch":
        import tensorflow  # before the course switches oneDNN on

    from experiments.plan import ALL
    from fer_helpers import training
    from fer_helpers.dataset import Examples
    from machinery.keras_quietly import keras
    from machinery.winograd import speed_up

    build = ALL[network].build
    settings = training.Settings(batch_size=BATCH, **ALL[network].settings)
    training.fresh_start(0)
    if way.startswith("report"):
        model, batches = build(), generator(folder, settings.augmentation)
        model.compile(keras.optimizers.Adam(settings.learning_rate), "categorical_crossentropy",
                      metrics=["accuracy"])
        return {"step": lambda: timed_fit(model, batches, steps),
                "input": lambda: timed(lambda: [next(batches) for _ in range(steps)])}
    images = draw_images(BATCH * steps)[..., None]
    labels = np.arange(len(images)) % len(EMOTIONS)
    batches = np.split(images, steps)
    network = build()
    if way == "PyTorch":
        step, true = in_pytorch(network, settings.learning_rate), np.split(labels, steps)
        return {"step": lambda: timed(lambda: list(map(step, batches, true)))}
    speed_up(network)
    model = training.compiled(network, settings)
    front = keras.Sequential(model.layers[:2])  # scaling and augmentation
    deliver = tensorflow.function(lambda batch: front(batch, training=True))
    return {"step": lambda: timed(training.mean_over_batches, model.train_on_batch,
                                  Examples(images, labels, None), BATCH),
            "input": lambda: timed(
                lambda: [deliver(batch.astype("float32")) for batch in batches])}


def in_pytorch(network, rate: float):
    """Build a network of Keras in plain PyTorch; return a function that makes one step of Adam."""
    import torch
    from torch import nn

    from machinery.keras_quietly import keras

    same = {"Conv2D": lambda layer: nn.LazyConv2d(layer.filters, 3, padding="same"),
            "Dense": lambda layer: nn.LazyLinear(layer.units),
            "BatchNormalization": lambda _: nn.LazyBatchNorm2d(),
            "MaxPooling2D": lambda _: nn.MaxPool2d(2), "Flatten": lambda _: nn.Flatten(),
            "Dropout": lambda layer: nn.Dropout(layer.rate)}
    parts, penalties = [], []
    for layer in network.layers:
        parts.append(same[type(layer).__name__](layer))
        if penalty := getattr(layer, "kernel_regularizer", None):
            penalties.append((float(penalty.l2), parts[-1]))
        if getattr(layer, "activation", None) is keras.activations.relu:
            parts.append(nn.ReLU())
    model = nn.Sequential(*parts)
    model(torch.zeros(2, 1, IMAGE_SIZE, IMAGE_SIZE))  # now the layers know their sizes
    optimizer = torch.optim.Adam(model.parameters(), rate)

    def step(images, labels):
        optimizer.zero_grad()
        scores = model(torch.tensor(images).movedim(-1, 1) / 255)
        loss = nn.functional.cross_entropy(scores, torch.tensor(labels))
        (loss + sum(l2 * part.weight.square().sum() for l2, part in penalties)).backward()
        optimizer.step()

    return step


def timed_fit(model, batches, steps: int) -> tuple[float, float]:
    """Train with ``fit``; return wall and CPU-seconds from its first batch to its last."""
    from machinery.keras_quietly import keras

    clock = []

    def now(*_, logs=None):
        clock.append((time.perf_counter(), time.process_time()))

    model.fit(batches, steps_per_epoch=steps, verbose=0, callbacks=[
        keras.callbacks.LambdaCallback(on_train_batch_begin=now, on_train_batch_end=now)])
    return clock[-1][0] - clock[0][0], clock[-1][1] - clock[0][1]


def in_process(what: str, *network) -> tuple[float, float]:
    """Train or deliver in this process; return wall and CPU-seconds a step."""
    wall, cpu = prepared(*network)[what]()
    return wall / network[-1], cpu / network[-1]


def peak_of_machine(side: int) -> float:
    """Return floating-point operations a second of TensorFlow's matrix product."""
    import tensorflow as tf

    one = tf.random.normal((side, side))
    return 2 * side**3 / min(timed(lambda: tf.matmul(one, one).numpy())[0] for _ in range(5))


def operations(network: str) -> int:
    """Floating-point operations of a step: two a weight and place, and twice that going back."""
    from experiments.plan import ALL

    layers = [layer for layer in ALL[network].build().layers if hasattr(layer, "kernel")]
    places = [int(np.prod(layer.output.shape[1:-1])) for layer in layers]
    return 3 * BATCH * sum(2 * int(np.prod(layer.kernel.shape)) * place
                           for layer, place in zip(layers, places, strict=True))


def peak_memory() -> float:
    """Return the most memory that this process has had, in GB; Windows does not count it."""
    try:
        import resource
    except ImportError:
        return np.nan
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e9 if sys.platform == "darwin" else 1e6)


def silence() -> None:
    """Keep TensorFlow's and the generator's messages out of the output."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


@contextmanager
def processes():
    """Start one process for each way."""
    pools = {}
    try:
        for way, settings in WAYS.items():
            with mock.patch.dict(os.environ):  # afterwards all is as it was
                for name in (ONEDNN, "KERAS_BACKEND"):
                    os.environ.pop(name, None)
                os.environ.update(settings)
                pools[way] = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), silence)
                pools[way].submit(os.getpid).result()  # it starts now, in this environment
        yield {way: lambda *task, p=pool: p.submit(*task).result() for way, pool in pools.items()}
    finally:
        for pool in pools.values():
            pool.shutdown()


def time_network(network: str, folder: Path, sizes) -> list[dict]:
    """Time input and steps of a network in all ways, in turns."""
    rows = []
    with processes() as ask:
        count = ask["course"](operations, network)
        for what, repeat in itertools.product(["input", "step"], range(-1, sizes.repeats)):
            peak = ask["course"](peak_of_machine, sizes.side)
            print(f"{what}, {network}: {repeat + 1} of {sizes.repeats}", file=sys.stderr)
            for way in WAYS:
                if (what, way) == ("input", "PyTorch"):  # its images need no delivery
                    continue
                wall, cpu = ask[way](in_process, what, way, network, str(folder), sizes.steps)
                rows.append({"what": f"{what}, {network}", "way": way, "repeat": repeat,
                             "wall": wall, "cpu": cpu, "peak": peak, "operations": count,
                             "memory": ask[way](peak_memory)})
    return [row for row in rows if row["repeat"] >= 0]  # the first only warms up


def time_dataset(root: Path, name: str, repeats: int) -> list[dict]:
    """Time what works on a whole dataset, beside Keras's loading of a folder."""
    from experiments.near_copies import similar_pairs
    from fer_helpers import evaluation
    from machinery.keras_quietly import keras

    def load_with_keras():
        for split in SPLITS:
            list(keras.utils.image_dataset_from_directory(
                root / split, color_mode="grayscale", image_size=(IMAGE_SIZE, IMAGE_SIZE),
                verbose=False).as_numpy_iterator())

    def bootstrap():
        evaluation.bootstrap(np.arange(count) % 2, np.arange(count) // 2)  # groups of two copies

    calls = {("load", "course"): lambda: Dataset(root).pixels,
             ("load", "Keras"): load_with_keras,
             ("near copies", "course"): lambda: similar_pairs(pixels),
             ("bootstrap", "course"): bootstrap}
    if not root.is_dir():
        del calls["load", "Keras"]
    pixels, rows = Dataset(root).pixels, []
    count = len(pixels)
    for repeat in range(repeats):
        print(f"{name}: {repeat + 1} of {repeats}", file=sys.stderr)
        rows += [{"what": f"{what}, {name}", "way": way, "repeat": repeat, "wall": wall,
                  "cpu": cpu, "images": count} for (what, way), call in calls.items()
                 for wall, cpu in [timed(call)]]
    return rows


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the medians of each step and way; each way's wall time over the course's, in turns."""
    table = []
    for what, part in rows.groupby("what", sort=False):
        walls = part.pivot_table(index="repeat", columns="way", values="wall")
        ratios = walls.div(walls[part["way"].iloc[0]], axis=0)
        for way, own in part.groupby("way", sort=False):
            middle = own[["wall", "cpu", "memory"]].median()
            reached = (own["operations"] / own["wall"] / own["peak"]).median()
            table.append({
                "what": what, "way": way, "wall s": middle["wall"], "CPU s": middle["cpu"],
                "times the course's": ratios[way].median(), "lowest": ratios[way].min(),
                "highest": ratios[way].max(),
                "share of peak": reached if what.startswith("step") else np.nan,
                "min an epoch": middle["wall"] * EPOCH / 60 if "step" in what else np.nan,
                "peak GB": middle["memory"]})
    table = pd.DataFrame(table)
    steps = table[table["what"].str.startswith("step")].set_index(["way", "what"])["wall s"]
    key = pd.MultiIndex.from_arrays([table["way"], table["what"].str.replace("input", "step")])
    table["share of step"] = (table["wall s"] / steps.reindex(key).to_numpy()).where(
        table["what"].str.startswith("input"))
    return table


def draw_ways(table: pd.DataFrame, path: Path) -> None:
    """Draw how long a step takes in each way, a group of bars for each network."""
    steps = table[table["what"].str.startswith("step")]
    steps = steps.assign(network=steps["what"].str.removeprefix("step, "))
    seconds = steps.pivot_table(index="network", columns="way", values="wall s")
    axis = seconds.reindex(index=steps["network"].unique(), columns=list(WAYS)).dropna(
        axis="columns").plot.bar(rot=0, figsize=(7, 4), xlabel="", ylabel="seconds a step")
    axis.legend(frameon=False)
    axis.figure.savefig(path, bbox_inches="tight")
    plt.close(axis.figure)


def draw_growth(rows: pd.DataFrame, path: Path) -> None:
    """Draw the seconds of each step over the number of images."""
    rows = rows.dropna(subset="images")
    name = rows["what"].str.partition(",")[0] + ", " + rows["way"]
    medians = rows.pivot_table(index="images", columns=name, values="wall", aggfunc="median")
    axis = medians.plot(loglog=True, style=["o-", "s--", "D-", "^:", "v-."], figsize=(7, 4),
                        ylabel="seconds", grid=True)
    axis.set_xticks(medians.index, [f"{count:,}" for count in medians.index])
    axis.xaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_formatter("{x:g}")
    axis.legend(frameon=False, bbox_to_anchor=(1, 0.5), loc="center left")
    axis.figure.savefig(path, bbox_inches="tight")
    plt.close(axis.figure)


def main() -> None:
    """Time everything; write the table and the plots."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny sizes: see whether it runs")
    parser.add_argument("--output", type=Path, default=COURSE / "benchmarks")
    arguments = parser.parse_args()
    sizes = Sizes(repeats=1, steps=1, images=60, side=200) if arguments.quick else Sizes()
    dataset = find_dataset() if os.environ.get("FER_DATA") else None  # an error costs no minutes
    arguments.output.mkdir(parents=True, exist_ok=True)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = draw_folder(Path(scratch, "training"), 20 * BATCH)
        for network in ("baseline",) if arguments.quick else ("baseline", "final", "ablation"):
            rows += time_network(network, folder / "train", sizes)
        for count in (times * sizes.images for times in (1, 2, 4, 8)):
            folder = draw_folder(Path(scratch, str(count)), count)
            rows += time_dataset(folder, f"{count:,} images", sizes.repeats)
    drawn = pd.DataFrame(rows)
    if dataset:
        rows += time_dataset(dataset.root, dataset.name, 3)
    from machinery.computer import machine

    head = (f"# {date.today()}, {machine(COURSE)['processor']}, {os.cpu_count()} cores, Python "
            f"{platform.python_version()}, TensorFlow {version('tensorflow')}\n")
    table = summary(pd.DataFrame(rows))
    draw_growth(drawn, arguments.output / "growth.svg")
    draw_ways(table, arguments.output / "ways.svg")
    text = head + table.to_csv(index=False, float_format="%.4g")
    write_whole(arguments.output / "bench.csv", text.encode())
    print(text)


if __name__ == "__main__":
    main()
