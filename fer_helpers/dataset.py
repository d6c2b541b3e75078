"""Find a dataset, index its images, balance the classes, load the pixels.

Every image is opened once. What was seen is kept in memory and in a cache (see
:func:`fer_helpers.files.cached`); a new :class:`Dataset` notices when a file has changed. Nothing
here ever writes into the dataset.
"""

import functools
import hashlib
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image
from PIL import __version__ as pillow_version
from tqdm import tqdm

from fer_helpers import sources
from fer_helpers.emotions import COURSE, EMOTIONS, IMAGE_SIZE, LEFT_OUT, SPLITS, course_path
from fer_helpers.files import cached
from fer_helpers.identity import Identity, identify, names_by_row
from fer_helpers.sources import DatasetError

FIXTURE = COURSE / "data" / "fixture"
# Where a user may put FER-2013, in any of its forms; the first one that is there is used.
FER2013 = [COURSE / "data" / name
           for name in ("fer2013", "fer2013.zip", "archive.zip", "fer2013.csv")]
CLASSES = EMOTIONS + LEFT_OUT


class Examples(NamedTuple):
    """Images with what belongs to them, row by row."""

    images: np.ndarray  # uint8 [n, 48, 48, 1], 0 is black
    labels: np.ndarray  # int64 [n], positions in EMOTIONS
    ids: np.ndarray  # str [n], path of the image inside the dataset


@dataclass(frozen=True)
class Dataset:
    """A folder or zip in Kaggle's layout, or the competition's CSV file."""

    root: Path

    @property
    def is_fixture(self) -> bool:
        """Whether this is the small drawn dataset that comes with the course."""
        return self.root == FIXTURE

    @functools.cached_property
    def name(self) -> str:
        """``fixture``, ``fer2013`` (the original), ``fer2013-altered``, or ``custom-<name>``.

        It labels every figure and table, and names the folder that figures are saved in.
        """
        if self.is_fixture:
            return "fixture"
        names = {"original": "fer2013", "altered": "fer2013-altered"}
        return names.get(self.identity.kind, f"custom-{self.root.stem}")

    @property
    def form(self) -> str:
        """Which of the two forms of FER-2013, if it is the original; otherwise empty."""
        return "" if self.is_fixture else self.identity.form

    @functools.cached_property
    def identity(self) -> Identity:
        """What this dataset is, compared with the original FER-2013, image by image."""
        seen = self._seen
        return identify(seen["path"].tolist(), np.stack([seen["width"], seen["height"]], axis=1),
                        seen["pixels"])

    @property
    def faults(self) -> pd.DataFrame:
        """The files that cannot be used: columns ``path`` and ``fault``, which says why."""
        return pd.DataFrame({"path": self._seen["fault_path"], "fault": self._seen["fault"]},
                            dtype=str)

    @property
    def pixels(self) -> np.ndarray:
        """All images, in the order of :func:`index_images`: uint8 [n, 48, 48]."""
        return self._seen["pixels"]

    def cached(self, what: str, compute) -> dict[str, np.ndarray]:
        """Keep arrays that depend on the dataset alone, until a file of it changes."""
        place = hashlib.blake2b(os.fsencode(self.root), digest_size=4).hexdigest()
        return cached(f"{self.root.stem}-{place}-{what}", self._stamp, compute)

    @functools.cached_property
    def _stamp(self) -> str:
        text = f"{CACHE_FORMAT} {pillow_version}\n{sources.stamp(self.root)}"
        return hashlib.blake2b(os.fsencode(text), digest_size=16).hexdigest()

    @functools.cached_property
    def _seen(self) -> dict[str, np.ndarray]:
        seen = self.cached("images", functools.partial(_read_all, self.root))
        if len(seen["fault"]):
            first = f"{seen['fault_path'][0]} ({seen['fault'][0]})"
            if not len(seen["path"]):
                raise DatasetError(
                    f"None of the {len(seen['fault']):,} files of {self.root} can be used. The "
                    f"first is {first}. Download the dataset again."
                )
            warnings.warn(
                f"Left out of {self.root}: {len(seen['fault']):,} files that cannot be used. The "
                f"first is {first}. Notebook 1 counts them.", stacklevel=4)
        return seen


COLUMNS = ("split", "emotion", "path", "width", "height", "mode", "digest", "brightness",
           "contrast", "flat")
CACHE_FORMAT = 4  # another number makes every cache invalid: for when the code here changes


def find_dataset() -> Dataset:
    """Return the dataset to use: ``FER_DATA`` if set, else FER-2013 in ``data/``, else the fixture.

    ``FER_DATA`` is a folder that holds ``train`` and ``test``, a zip of it, or ``fer2013.csv``. A
    relative one counts from the course's folder.

    Raises
    ------
    DatasetError
        If ``FER_DATA`` points to nothing.
    """
    if os.environ.get("FER_DATA"):
        # A notebook's folder is notebooks/: count from the course's folder instead.
        root = Path(os.path.realpath(course_path("FER_DATA", "")))
    else:
        root = next((place for place in FER2013 if os.path.lexists(place)), FIXTURE)
    if not os.path.exists(root):
        raise DatasetError(
            f"No dataset at {root}. Set FER_DATA to the folder that holds train/ and test/, to "
            "Kaggle's archive.zip or to fer2013.csv, or unset it to use the bundled fixture. "
            "data/README.md tells how to get FER-2013."
        )
    return Dataset(root)


def index_images(dataset: Dataset) -> pd.DataFrame:
    """List every image of a dataset.

    Returns
    -------
    DataFrame
        One row an image, sorted by split, emotion and name, with the columns

        - ``split``, ``emotion``, ``path`` (``split/emotion/name``, whatever the dataset's form),
        - ``width`` and ``height`` (pixels) and ``mode`` (Pillow's; ``L`` is 8-bit grey) of the
          file,
        - ``digest``, a hash of the grey pixels: equal pixels, equal digest,
        - ``brightness`` and ``contrast``, mean and standard deviation of the grey values (0 to
          255),
        - ``flat``, the share of the pixels with the commonest grey value: 1 is a blank image.

        Files that cannot be used are not in it, but in ``dataset.faults``.

    Raises
    ------
    DatasetError
        If the dataset as a whole cannot be read, or a class folder is missing or unknown.
    """
    return pd.DataFrame({name: dataset._seen[name].tolist() for name in COLUMNS})


def _read_all(root: Path) -> dict[str, np.ndarray]:
    """Decode every image once; return the columns of the index, the faults and the pixels."""
    rows, faults, pixels = [], [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's; what matters becomes a fault
        for entry in tqdm(_known_entries(root), desc="Reading images", unit="",
                          delay=1, mininterval=1):
            path = f"{entry.split}/{entry.emotion}/{entry.name}"
            try:
                image, (width, height), mode = entry.read()
            except sources.Fault as fault:
                faults.append((path, str(fault)))
                continue
            digest = hashlib.blake2b(image.tobytes(), digest_size=8)
            if (width, height) != (IMAGE_SIZE, IMAGE_SIZE):
                digest.update(f"{width} x {height}".encode())
                image = image.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BILINEAR)
            rows.append((entry.split, entry.emotion, path, width, height, mode,
                         digest.hexdigest()))
            pixels.append(image.tobytes())
    columns = zip(*rows, strict=True) if rows else [[]] * len(COLUMNS)
    fault_paths, reasons = zip(*faults, strict=True) if faults else ((), ())
    pixels = np.frombuffer(b"".join(pixels), np.uint8).reshape(-1, IMAGE_SIZE, IMAGE_SIZE)
    return (dict(zip(COLUMNS, map(np.array, columns), strict=False)) | _statistics(pixels)
            | {"fault_path": np.array(fault_paths, dtype=str),
               "fault": np.array(reasons, dtype=str), "pixels": pixels})


def _statistics(pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Return brightness, contrast and flat of each image; see :func:`index_images`."""
    brightness, contrast, flat = np.empty((3, len(pixels)))
    for start in range(0, len(pixels), 1000):  # a block at a time, to save memory
        rows = slice(start, start + 1000)
        block = pixels[rows].reshape(-1, IMAGE_SIZE ** 2)
        brightness[rows], contrast[rows] = block.mean(axis=1), block.std(axis=1)
        # One histogram of 256 greys for each image: count all of them in one long one.
        shifted = block + 256 * np.arange(len(block))[:, None]
        counts = np.bincount(shifted.ravel(), minlength=256 * len(block)).reshape(-1, 256)
        flat[rows] = counts.max(axis=1) / block.shape[1]
    return {"brightness": brightness, "contrast": contrast, "flat": flat}


def _known_entries(root: Path) -> list[sources.Entry]:
    """Return the entries of a dataset, sorted, with split and class as this course spells them."""
    entries = sources.entries(root)
    if root.suffix.casefold() == ".csv":
        paths = [f"{entry.split}/{entry.emotion}/{entry.name}" for entry in entries]
        entries = [entry._replace(name=path.rpartition("/")[2])
                   for entry, path in zip(entries, names_by_row(paths), strict=True)]
    known = {}
    for entry in entries:
        split, emotion = entry.split.casefold(), entry.emotion.casefold()
        if emotion not in CLASSES:
            raise DatasetError(
                f"{root} holds {entry.split}/{entry.emotion}/, which is not a class of this "
                f"course. Move it out of the dataset. The classes are {', '.join(CLASSES)}."
            )
        place = (SPLITS.index(split), CLASSES.index(emotion), entry.name)
        if len(entry.name) > sources.MAX_NAME:
            raise DatasetError(
                f"{root} holds a name of {len(entry.name):,} characters, {entry.name[:20]}... "
                "Kaggle's archive does not: download it again."
            )
        if place in known:
            raise DatasetError(
                f"{root} holds {split}/{emotion}/{entry.name} twice, perhaps in folders whose "
                "names differ by capitals. Remove one of the two."
            )
        known[place] = entry._replace(split=split, emotion=emotion)
    found = {place[:2] for place in known}
    for i, split in enumerate(SPLITS):
        for emotion in EMOTIONS:
            if (i, EMOTIONS.index(emotion)) not in found:
                raise DatasetError(
                    f"{root} has no images in {split}/{emotion}/. A dataset holds train/<emotion>/ "
                    "and test/<emotion>/: unpack it again, or point FER_DATA at the folder, zip or "
                    f"CSV file that holds them. The classes are {', '.join(EMOTIONS)}."
                )
    return [known[place] for place in sorted(known)]


def balance(index: pd.DataFrame, per_class: dict[str, int], *, seed: int = 0) -> pd.DataFrame:
    """Draw the same number of images of every class; leave *disgust* out (report, section 2.2).

    The draw depends on the paths and the seed alone: the rows are sorted first, and pandas
    draws with NumPy's frozen ``RandomState``, so every machine draws the same images.

    Parameters
    ----------
    index
        From :func:`index_images`.
    per_class
        Images of each class to keep, by split: ``{"train": 2999, "test": 599}`` in the report.
    seed
        Another seed draws another subset.

    Returns
    -------
    DataFrame
        The rows kept, with their row labels, so ``index.drop(kept.index)`` is what was dropped.

    Raises
    ------
    DatasetError
        If a class has fewer images than asked for.
    """
    kept = []
    for split, count in per_class.items():
        for emotion in EMOTIONS:
            images = index[(index["split"] == split) & (index["emotion"] == emotion)]
            if len(images) < count:
                raise DatasetError(
                    f"{split}/{emotion} holds {len(images)} images, fewer than the {count} asked "
                    f"for. Ask for fewer (per_class in the settings cell, --{split}-per-class on "
                    "the command line), or use the whole dataset."
                )
            kept.append(images.sort_values("path").sample(count, random_state=seed))
    return pd.concat(kept).sort_index()


def count_images(frame: pd.DataFrame, splits=SPLITS) -> pd.DataFrame:
    """Return the images per split (rows) and class (columns), as the report's Figure 1 does."""
    counts = pd.crosstab(frame["split"], frame["emotion"])
    classes = [*EMOTIONS, *(name for name in LEFT_OUT if name in counts.columns)]
    counts = counts.reindex(index=splits, columns=classes, fill_value=0)
    return counts.rename_axis(index=None, columns=None)


def load_images(dataset: Dataset, frame: pd.DataFrame) -> Examples:
    """Return the images of a frame, in its order, as grey 48 x 48; others were resized in memory.

    Raises
    ------
    DatasetError
        If the frame names an image that the dataset does not have, or another class than the six.
    """
    rows = pd.Index(dataset._seen["path"].tolist()).get_indexer(frame["path"])
    if (rows < 0).any():
        raise DatasetError(
            f"{dataset.root} has no usable image {frame['path'].iloc[int((rows < 0).argmax())]}. "
            "Index this dataset again: the frame was made from another one."
        )
    if not frame["emotion"].isin(EMOTIONS).all():
        raise DatasetError(
            f"Only images of {', '.join(EMOTIONS)} can be loaded with labels. Leave the others "
            "out, as balance does."
        )
    labels = frame["emotion"].map(EMOTIONS.index).to_numpy(dtype=np.int64)
    return Examples(dataset.pixels[rows][..., None], labels, frame["path"].to_numpy(dtype=str))


def about(dataset: Dataset, frame: pd.DataFrame) -> dict[str, str]:
    """Say what a run was trained on: the dataset, its form and the fingerprint of these images."""
    return {"dataset": dataset.name, "form": dataset.form, "fingerprint": fingerprint(frame)}


def fingerprint(frame: pd.DataFrame) -> str:
    """Return 16 hexadecimal digits that stand for the images of a frame and their classes.

    Two frames agree only if they hold the same pixels under the same paths, in any order.
    """
    rows = sorted(frame["path"] + " " + frame["emotion"] + " " + frame["digest"])
    return hashlib.blake2b(os.fsencode("\n".join(rows)), digest_size=8).hexdigest()
