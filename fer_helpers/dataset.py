"""Find a dataset, index its images, balance the classes, load the pixels.

Every image is opened once, when a :class:`Dataset` is first looked at, and kept in memory. Nothing
is written. That first look may raise a ``CourseError``: the dataset cannot be read as a whole, or a
class is missing or unknown.
"""

import functools
import hashlib
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.request import url2pathname

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from fer_helpers import course
from fer_helpers.course import ALSO_CALLED, COURSE, EMOTIONS, IMAGE_SIZE, LEFT_OUT, SPLITS
from fer_helpers.identity import Identity, recognise
from machinery import forms
from machinery.files import CourseError

FIXTURE = (COURSE / "data" / "fixture").resolve()
# Where a user may put FER-2013, in any form; the first one that is there, and not empty, is used.
FER2013 = [COURSE / "data" / name
           for name in ("fer2013", "fer2013.zip", "archive.zip", "fer2013.csv")]
# And where Kaggle's own notebooks, and Colab, show it.
KAGGLE = [Path("/kaggle/input") / name for name in ("fer2013", "datasets/msambare/fer2013")]
REPORT_SIZES = {"train": 2999, "test": 599}  # images of each class (report, section 2.2)
FIXTURE_SIZES = {"train": 30, "test": 12}
NAMES = forms.Names.of(SPLITS, EMOTIONS + LEFT_OUT, ALSO_CALLED, "fer_helpers/course.py")


class Examples(NamedTuple):
    """Images with what belongs to them, row by row."""

    images: np.ndarray  # uint8 [n, 48, 48, 1], 0 is black
    labels: np.ndarray  # int64 [n], positions in EMOTIONS; or shares of them, float32 [n, 6]
    ids: np.ndarray  # str [n], path of the image inside the dataset


class Balanced(NamedTuple):
    """The same number of images of every class, ready for training."""

    train: Examples
    test: Examples
    about: dict[str, str]  # dataset, its form, and the fingerprint of these images: see Run
    # The test images of the six classes that the draw leaves out, of unequal number a class. No
    # training looks at them: they are answered once, at its end.
    unused: Examples | None = None


class Seen(NamedTuple):
    """What there is to see in a dataset."""

    index: pd.DataFrame  # see index_images
    pixels: np.ndarray  # uint8 [n, 48, 48], in the order of the index
    faults: pd.DataFrame  # the files that cannot be used: their path, and fault, which says why
    identity: Identity  # what it is, compared with the original FER-2013, image by image


@dataclass(frozen=True)
class Dataset:
    """A dataset in any form that :mod:`machinery.forms` reads."""

    root: Path

    @property
    def is_fixture(self) -> bool:
        """Whether this is the small drawn dataset that comes with the course."""
        return self.root == FIXTURE

    @property
    def name(self) -> str:
        """``fixture``, ``fer2013`` (the original), ``fer2013-altered``, or ``custom-<name>``.

        It labels every figure and table, and names the folder that figures are saved in.
        """
        if self.is_fixture:
            return "fixture"
        names = {"original": "fer2013", "altered": "fer2013-altered"}
        return names.get(self.seen.identity.kind, f"custom-{self.root.stem}")

    @functools.cached_property
    def seen(self) -> Seen:
        """Everything in it, read at the first call."""
        seen = _read(self.root)
        if count := len(seen.faults):
            first = seen.faults.iloc[0]
            warnings.warn(
                f"Left out of {self.root}: {count:,} files that cannot be used. The first is "
                f"{first['path']} ({first['fault']}). Notebook 1 counts them.", stacklevel=3)
        return seen

    pixels = property(lambda self: self.seen.pixels)
    faults = property(lambda self: self.seen.faults)
    identity = property(lambda self: self.seen.identity)


def find_dataset() -> Dataset:
    """Return the dataset to use: ``FER_DATA`` if set, else FER-2013 if found, else the fixture.

    FER-2013 is looked for in ``data/``, where kagglehub keeps it (``make data``), and at Kaggle.
    ``FER_DATA`` is a folder or file in any form of the dataset; a relative path counts from the
    course's folder. If it points to nothing, raises CourseError.
    """
    chosen = os.environ.get("FER_DATA", "")
    if not os.path.exists(COURSE / chosen):  # as it was copied from elsewhere
        chosen = os.path.expandvars(os.path.expanduser(chosen.strip("'\" \t\r\n")))
        if chosen.startswith("file:"):
            chosen = url2pathname(chosen.removeprefix("file:"))
    root = Path(os.path.realpath(COURSE / (chosen or _usual())))
    if not os.path.exists(root):
        raise CourseError(
            f"No dataset at {root}. Set FER_DATA to the folder or file of FER-2013, or unset it to "
            "use the bundled fixture. data/README.md tells how to get FER-2013.")
    return Dataset(root)


def _usual() -> Path:
    """Return where FER-2013 is if nobody says: kagglehub marks what has come whole."""
    hub = course.course_path("KAGGLEHUB_CACHE", "~/.cache/kagglehub")
    marks = sorted((hub / "datasets" / "msambare" / "fer2013").glob("*.complete"))
    places = [*FER2013, *(mark.parent / "versions" / mark.stem for mark in marks), *KAGGLE]
    return next((place for place in places if os.path.lexists(place) and (
        not place.is_dir() or any(map(forms.visible, os.listdir(place))))), FIXTURE)


def index_images(dataset: Dataset) -> pd.DataFrame:
    """List every image of a dataset; those that cannot be used are in ``dataset.faults`` instead.

    Returns a frame with one row an image, sorted by split, emotion and name, and the columns

    - ``split``, ``emotion``, ``path`` (``split/emotion/name``; FER-2013's have Kaggle's names),
    - ``width`` and ``height`` (pixels) and ``mode`` (Pillow's; ``L`` is 8-bit grey) of the file,
    - ``digest``, a hash of the grey pixels: equal pixels, equal digest,
    - ``brightness`` and ``contrast``, mean and standard deviation of the grey values (0 to 255),
    - ``flat``, the share of the pixels with the commonest grey value: 1 is a blank image.
    """
    return dataset.seen.index.copy()


def _read(root: Path) -> Seen:
    rows, pixels, faults = [], [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's; what matters becomes a fault
        for path, read in tqdm(forms.entries(root, NAMES), desc="Reading images", unit="",
                               delay=1, mininterval=1):
            try:
                image, (width, height), mode = read()
            except forms.Fault as fault:
                faults.append((path, str(fault)))
                continue
            digest = hashlib.blake2b(image.tobytes(), digest_size=8)
            if (width, height) != (IMAGE_SIZE, IMAGE_SIZE):
                digest.update(f"{width} x {height}".encode())
                image = image.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BILINEAR)
            rows.append((path, width, height, mode, digest.hexdigest()))
            pixels.append(image.tobytes())
    homes = [f"{split}/{emotion}" for split in SPLITS for emotion in EMOTIONS + LEFT_OUT]
    held = {path.rpartition("/")[0] for path, *_ in rows}
    for home in homes:
        if home not in held and not home.endswith(LEFT_OUT):
            first = [f" The first of {len(faults):,} others is {path} ({reason})."
                     for path, reason in faults[:1]]
            raise CourseError(f"{root} has no images in {home}/ that can be used.{''.join(first)} "
                              "Use a whole dataset: data/README.md tells how to get FER-2013.")
    greys = np.frombuffer(b"".join(pixels), np.uint8).reshape(-1, IMAGE_SIZE, IMAGE_SIZE)
    index = pd.DataFrame(rows, columns=["path", "width", "height", "mode", "digest"])
    index["path"], identity = recognise(index["path"], index[["width", "height"]].to_numpy(), greys)
    parts = index["path"].str.split("/")
    index.insert(0, "split", parts.str[0])
    index.insert(1, "emotion", parts.str[1])
    # All sums are whole numbers, so brightness and contrast are exact.
    counts = np.array([np.bincount(image.ravel(), minlength=256) for image in greys])
    size, values = IMAGE_SIZE ** 2, np.arange(256)
    sums, squares = counts @ values, counts @ values ** 2
    index["brightness"] = sums / size
    index["contrast"] = np.sqrt(size * squares - sums ** 2) / size
    index["flat"] = counts.max(axis=1) / size
    order = sorted(index.index, key=lambda row: (
        homes.index("/".join(parts[row][:2])), parts[row][2]))
    return Seen(index.iloc[order].reset_index(drop=True), greys[order],
                pd.DataFrame(faults, columns=["path", "fault"], dtype=str), identity)


def balance(index: pd.DataFrame, per_class: dict[str, int], *, seed: int = 0) -> pd.DataFrame:
    """Draw the same number of images of every class; leave *disgust* out (report, section 2.2).

    ``index`` is from :func:`index_images`; ``per_class`` says how many images of each class to
    keep, by split, as in ``REPORT_SIZES``. The draw depends on the paths and the seed alone: the
    rows are sorted, and NumPy's ``RandomState`` is frozen, so every machine draws the same images.
    Returns the rows kept, with their row labels: ``index.drop(kept.index)`` is what was dropped.
    Raises CourseError if a class has fewer images than asked for.
    """
    kept = []
    for split, count in per_class.items():
        for emotion in EMOTIONS:
            images = index[(index["split"] == split) & (index["emotion"] == emotion)]
            if len(images) < count:
                raise CourseError(
                    f"{split}/{emotion} holds {len(images)} images, fewer than the {count} asked "
                    f"for. Ask for fewer: per_class in a notebook, --{split}-per-class elsewhere.")
            kept.append(images.sort_values("path").sample(count, random_state=seed))
    return pd.concat(kept).sort_index()


def count_images(frame: pd.DataFrame, splits=SPLITS) -> pd.DataFrame:
    """Return the images per split (rows) and class (columns), as the report's Figure 1 does."""
    counts = pd.crosstab(frame["split"], frame["emotion"])
    classes = [*EMOTIONS, *counts.columns.intersection(LEFT_OUT)]
    counts = counts.reindex(index=splits, columns=classes, fill_value=0)
    return counts.rename_axis(index=None, columns=None)


def load_images(dataset: Dataset, frame: pd.DataFrame) -> Examples:
    """Return the images of a frame, in its order, as grey 48 x 48; others were resized in memory.

    Raises CourseError if one is not in the dataset, or of another class than the six.
    """
    rows = pd.Index(dataset.seen.index["path"]).get_indexer(frame["path"])
    if (rows < 0).any():
        raise CourseError(
            f"{dataset.root} has no usable image {frame['path'].iloc[int((rows < 0).argmax())]}. "
            "Index this dataset again: the frame was made from another one.")
    if not frame["emotion"].isin(EMOTIONS).all():
        raise CourseError(f"Only images of {', '.join(EMOTIONS)} can be loaded with labels. Leave "
                          "the others out, as balance does.")
    labels = frame["emotion"].map(EMOTIONS.index).to_numpy(dtype=np.int64)
    return Examples(dataset.pixels[rows][..., None], labels, frame["path"].to_numpy(dtype=str))


def fingerprint(frame: pd.DataFrame) -> str:
    """Return 16 hexadecimal digits that stand for the images of a frame and their classes.

    Two frames agree only if they hold the same pixels under the same paths, in any order.
    """
    rows = sorted(frame["path"] + " " + frame["emotion"] + " " + frame["digest"])
    return hashlib.blake2b(os.fsencode("\n".join(rows)), digest_size=8).hexdigest()


def load_balanced(dataset: Dataset, per_class: dict[str, int], *, seed: int = 0) -> Balanced:
    """Index, balance and load in one step; see :func:`balance` for the parameters and errors."""
    index = index_images(dataset)
    kept = balance(index, per_class, seed=seed)
    left = index.drop(kept.index)
    left = left[(left["split"] == "test") & left["emotion"].isin(EMOTIONS)]
    train, test = (kept[kept["split"] == split] for split in SPLITS)
    about = {"dataset": dataset.name, "form": dataset.identity.form,
             "fingerprint": fingerprint(kept)}
    train, test, left = (load_images(dataset, frame) for frame in (train, test, left))
    return Balanced(train, test, about, left)
