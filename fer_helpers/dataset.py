"""Find a dataset, index its images, balance the classes, load the pixels.

A dataset is a folder in Kaggle's layout: ``train/<emotion>/*.jpg`` and ``test/<emotion>/*.jpg``.
Nothing here ever writes into it.
"""

import functools
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from fer_helpers.emotions import COURSE, EMOTIONS, IMAGE_SIZE, LEFT_OUT, SPLITS, CourseError

FIXTURE = COURSE / "data" / "fixture"
FER2013 = COURSE / "data" / "fer2013"
FER2013_COUNTS = {"train": 28_709, "test": 7_178}  # Kaggle's msambare/fer2013


class DatasetError(CourseError):
    """The dataset cannot be used as it is; the message names the file and the remedy."""


class Examples(NamedTuple):
    """Images with what belongs to them, row by row."""

    images: np.ndarray  # uint8 [n, 48, 48, 1], 0 is black
    labels: np.ndarray  # int64 [n], positions in EMOTIONS
    ids: np.ndarray  # str [n], path of the image inside the dataset


@dataclass(frozen=True)
class Dataset:
    """A folder of images in Kaggle's layout."""

    root: Path

    @property
    def is_fixture(self) -> bool:
        """Whether this is the small drawn dataset that comes with the course."""
        return self.root == FIXTURE

    @functools.cached_property
    def name(self) -> str:
        """``fixture``, ``fer2013`` (known by its counts), or ``custom-<folder>``.

        It labels every figure and table, and names the folder that figures are saved in.
        """
        if self.is_fixture:
            return "fixture"
        counts = {split: sum(len(files) for files in _image_files(self.root, split).values())
                  for split in SPLITS}
        return "fer2013" if counts == FER2013_COUNTS else f"custom-{self.root.name}"


def find_dataset() -> Dataset:
    """Return the dataset to use: ``FER_DATA`` if set, else ``data/fer2013/``, else the fixture.

    A relative ``FER_DATA`` counts from the course's folder.

    Raises
    ------
    DatasetError
        If ``FER_DATA`` does not point to a folder with ``train`` and ``test`` in it, or if a
        class folder is missing or empty.
    """
    chosen = os.environ.get("FER_DATA")
    if chosen:
        # A notebook's folder is notebooks/: count from the course's folder instead.
        root = (COURSE / Path(chosen).expanduser()).resolve()
    else:
        root = FER2013 if FER2013.is_dir() else FIXTURE
    if not root.is_dir():
        raise DatasetError(
            f"No dataset folder at {root}. Set FER_DATA to the unpacked folder that holds train/ "
            "and test/, or unset it to use the bundled fixture. data/README.md tells how to get "
            "FER-2013."
        )
    for split in SPLITS:
        _image_files(root, split)
    return Dataset(root)


def _image_files(root: Path, split: str) -> dict[str, list[Path]]:
    """Return the files of each class of one split, sorted by name. Hidden files do not count."""
    folder = root / split
    if not folder.is_dir():
        raise DatasetError(
            f"{root} has no folder {split}/. A dataset holds train/<emotion>/ and "
            "test/<emotion>/: unpack it directly into this folder, or point FER_DATA at the folder "
            "that holds them."
        )
    classes = {f.name.casefold(): f for f in folder.iterdir()
               if f.is_dir() and not f.name.startswith(".")}
    known = EMOTIONS + LEFT_OUT
    for name in EMOTIONS:
        if name not in classes:
            raise DatasetError(
                f"{folder} has no class folder {name}/. Unpack the dataset again, or add the "
                f"folder. The classes are {', '.join(EMOTIONS)}."
            )
    for name in sorted(set(classes) - set(known)):
        raise DatasetError(
            f"{classes[name]} is not a class of this course. Move it out of the dataset. "
            f"The classes are {', '.join(known)}."
        )
    files = {}
    for name in known:
        if name in classes:
            found = [f for f in classes[name].iterdir() if f.is_file()]
            files[name] = sorted(f for f in found
                                 if not f.name.startswith(".") and f.name != "Thumbs.db")
            if not files[name]:
                raise DatasetError(
                    f"{classes[name]} holds no images. Unpack the dataset again: every class "
                    "needs some."
                )
    return files


def _open_grey(path: Path) -> tuple[Image.Image, tuple[int, int], str]:
    """Decode one file to 8-bit grey; return it with the size and mode that the file had."""
    try:
        with Image.open(path) as image:
            return image.convert("L"), image.size, image.mode
    except (OSError, SyntaxError, ValueError) as error:
        raise DatasetError(
            f"{path} cannot be read as an image ({error}). Remove it from the dataset or "
            "replace it with the original file."
        ) from error


def index_images(dataset: Dataset) -> pd.DataFrame:
    """Decode every image once and list it.

    Returns
    -------
    DataFrame
        One row an image, sorted by split, emotion and path, with the columns ``split``,
        ``emotion``, ``path`` (inside the dataset, with ``/``), ``width`` and ``height`` (pixels),
        ``mode`` (Pillow's; ``L`` is 8-bit grey) and ``digest`` (a hash of the decoded pixels:
        equal pixels, equal digest).

    Raises
    ------
    DatasetError
        If a file is not a readable image, or a class folder is missing or empty.
    """
    rows = []
    for split in SPLITS:
        for emotion, files in _image_files(dataset.root, split).items():
            for path in files:
                image, (width, height), mode = _open_grey(path)
                digest = hashlib.blake2b(image.tobytes(), digest_size=8).hexdigest()
                rows.append((split, emotion, path.relative_to(dataset.root).as_posix(),
                             width, height, mode, digest))
    return pd.DataFrame(
        rows, columns=["split", "emotion", "path", "width", "height", "mode", "digest"]
    )


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


def count_images(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the images per split (rows) and class (columns), as the report's Figure 1 does."""
    counts = pd.crosstab(frame["split"], frame["emotion"])
    classes = [*EMOTIONS, *(name for name in LEFT_OUT if name in counts.columns)]
    counts = counts.reindex(index=SPLITS, columns=classes, fill_value=0)
    return counts.rename_axis(index=None, columns=None)


def load_images(dataset: Dataset, frame: pd.DataFrame) -> Examples:
    """Load the images of a frame, in its order, as grey 48 x 48; others are resized in memory.

    Raises
    ------
    DatasetError
        If a file is not a readable image.
    """
    images = np.empty((len(frame), IMAGE_SIZE, IMAGE_SIZE, 1), dtype=np.uint8)
    for row, path in enumerate(frame["path"]):
        image, size, _ = _open_grey(dataset.root / path)
        if size != (IMAGE_SIZE, IMAGE_SIZE):
            image = image.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BILINEAR)
        images[row, :, :, 0] = image
    labels = frame["emotion"].map(EMOTIONS.index).to_numpy(dtype=np.int64)
    return Examples(images, labels, frame["path"].to_numpy(dtype=str))


def fingerprint(frame: pd.DataFrame) -> str:
    """Return 16 hexadecimal digits that stand for the images of a frame and their classes.

    Two frames agree only if they hold the same pixels under the same paths, in any order.
    """
    rows = sorted(frame["path"] + " " + frame["emotion"] + " " + frame["digest"])
    return hashlib.blake2b("\n".join(rows).encode(), digest_size=8).hexdigest()
