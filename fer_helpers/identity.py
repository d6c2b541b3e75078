"""Know FER-2013 by its pixels: is a dataset the original, an altered copy of it, or another one?

What is shipped to know it by holds no image: for each of the 35,887 rows of the competition's
``fer2013.csv`` the path of the same image in Kaggle's layout, and eight numbers for each of the two
forms. They are sums of the pixels with random signs. Such sums keep distances (Johnson and
Lindenstrauss, 1984; Achlioptas, 2003): how far two images are apart can be told from their sums.
"""

import contextlib
import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from fer_helpers.course import IMAGE_SIZE, REFERENCE
from machinery.files import CourseError

IMAGES = REFERENCE / "fer2013_images.csv.gz"
SIGNATURES = REFERENCE / "fer2013_signatures.npz"
COUNT = 35_887
FORMS = {  # and what to say of an original of that form
    "Kaggle's files": "every image has the pixels of Kaggle's files.",
    "fer2013.csv": "every image has the pixels of the competition's fer2013.csv. Kaggle's files "
                   "show the same images, but JPEG changed their pixels a little, so results "
                   "differ a little from the runs that come with the course.",
}

# Grey levels, root mean square over an image. Accurate JPEG decoders differ by less; spread greys,
# another size or a blur that the eye can see by more. TensorFlow's fast decoder differs by 2.2 in
# the median, too much for more than a quarter of the images. The files and the CSV differ by 1.7,
# and each is compared with itself.
TOLERANCE = 2.5

# The ten answers of FER+, under the course's names: the six classes, then the others.
VOTES = {"happiness": "happy", "sadness": "sad", "fear": "fear", "surprise": "surprise",
         "neutral": "neutral", "anger": "angry", "disgust": "disgust", "contempt": "contempt",
         "unknown": "unknown", "NF": "not a face"}

_SIGNS = np.where(np.random.RandomState(0).random_sample((IMAGE_SIZE**2, 8)) < 0.5, -1, 1)


class Identity(NamedTuple):
    """What a dataset is, compared with FER-2013, image by image."""

    kind: str  # "original", "altered" or "other"
    form: str  # one of FORMS for the original, else empty
    sentence: str  # for the reader


def signatures(pixels: np.ndarray) -> np.ndarray:
    """Return int16 [n, 8] from uint8 [n, 48, 48]: sums of the pixels with fixed random signs / 16.

    The root mean square of the differences of two signatures, divided by 3, estimates the root mean
    square difference of the two images in grey levels.
    """
    flat = pixels.reshape(len(pixels), -1)
    # In blocks, to save memory. The sums are whole numbers below 2**24, so float32 is exact.
    sums = [block.astype(np.float32) @ _SIGNS.astype(np.float32)
            for block in np.array_split(flat, len(flat) // 1000 + 1)]
    return np.rint(np.concatenate(sums) / 16).astype(np.int16)


def difference(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Estimate from signatures [n, 8] how far images are apart: root mean square, grey levels."""
    return np.sqrt(((first.astype(float) - second) ** 2).mean(axis=-1)) / 3


@contextlib.contextmanager
def _shipped(path: Path):
    """Say of a file that comes with the course what to do if it is missing or damaged."""
    try:
        yield
    except Exception as error:  # gzip, zipfile and zlib have many kinds
        raise CourseError(f"{path} is missing or damaged ({error}). By it the course knows "
                          f"FER-2013: `git restore data/reference/{path.name}`.") from error


@functools.cache
def images() -> pd.DataFrame:
    """Return the table of FER-2013's images, one row for each of ``fer2013.csv``, in its order.

    Its columns are ``path`` in Kaggle's layout, ``split`` and ``emotion``, ``usage`` (of the CSV),
    the ten votes of FER+ (``neutral`` to ``NF``, not a face), and of Kaggle's files ``digest``
    (equal number, equal pixels), ``group`` (equal number, exact or near copy), ``brightness`` and
    ``contrast`` (mean and standard deviation, 0 to 255). Raises CourseError if it is damaged.
    """
    with _shipped(IMAGES):
        table = pd.read_csv(IMAGES, keep_default_na=False)
    place = table["path"].str.split("/", expand=True)
    return table.assign(split=place[0], emotion=place[1])


@functools.cache
def known_signatures() -> np.ndarray:
    """Return the signatures of FER-2013, int16 [2, 35887, 8], by form and in the CSV's order.

    Raises CourseError if the file is missing or damaged.
    """
    with _shipped(SIGNATURES), np.load(SIGNATURES, allow_pickle=False) as file:
        return np.stack([file["kaggle"], file["kaggle"] + file["csv_minus_kaggle"]])


def recognise(paths: pd.Series, sizes: np.ndarray, pixels: np.ndarray) -> tuple[list, Identity]:
    """Compare a dataset with FER-2013, image by image, whatever its files are called.

    ``paths`` are ``split/emotion/name``; ``sizes`` is int [n, 2], width and height of each file;
    ``pixels`` is uint8 [n, 48, 48]; all in one order, for a CSV file that of its rows. Returns the
    paths, with Kaggle's names for FER-2013's images, and what the dataset is. Raises CourseError
    if what the course knows of FER-2013 (``data/reference/``) is missing or damaged.
    """
    found = signatures(pixels)
    if len(paths) < COUNT / 2:
        theirs = {one.tobytes() for one in np.concatenate(known_signatures())}
        return list(paths), _other(len(paths), sum(one.tobytes() in theirs for one in found))
    known, own = (column.str.rpartition("/")[[0, 2]] for column in (images()["path"], paths))
    rows = _rows(own, known, found)
    here = np.flatnonzero(rows >= 0)
    apart = difference(known_signatures()[:, rows[here]], found[here])
    changed = apart.min(axis=0) > TOLERANCE
    if len(here) < COUNT / 2:
        return list(paths), _other(len(paths), (~changed).sum())
    theirs = known.iloc[rows[here]].set_axis(here)
    moved = own[0][here] != theirs[0]
    names = own[0] + "/" + theirs[2].reindex(own.index).fillna(own[2])
    # No two images may share a path: those that are not FER-2013's give way.
    taken = names[here][~moved]
    names = names.where(names.index.isin(taken.index) | ~names.isin(taken), names + " (2)")
    wrong = {"have other pixels": changed.sum(), "have another label or split": moved.sum(),
             "are missing": COUNT - len(here), "were added": len(paths) - len(here)}
    if not any(wrong.values()):
        form = list(FORMS)[np.median(apart, axis=1).argmin()]
        return list(names), Identity(
            "original", form, f"This is the original FER-2013: {FORMS[form]}")
    counted = ", ".join(f"{count:,} {what}" for what, count in wrong.items() if count)
    done = _what_was_done(sizes[here][changed], pixels[here][changed]) if changed.any() else ""
    return list(names), Identity("altered", "", (
        f"This is an altered copy of FER-2013: compared with the original's {COUNT:,} images, "
        f"{counted}{done}. Results on it cannot be compared with the report's, nor with the "
        "runs that come with the course. data/README.md tells where to get the original."))


def _other(count: int, same: int) -> Identity:
    return Identity("other", "", (
        f"{same:,} of these {count:,} images are FER-2013's, which has {COUNT:,}: so few are not "
        "compared with it." if same >= count / 2 else
        "This is another dataset than FER-2013: its results stand for themselves."))


def _rows(own: pd.DataFrame, known: pd.DataFrame, found: np.ndarray) -> np.ndarray:
    """Say which row of FER-2013 each image is: by its pixels, else by its name; -1 is none.

    ``own`` and ``known`` hold split/emotion in column 0 and names in column 2.
    """
    hint = pd.MultiIndex.from_frame(known).get_indexer(pd.MultiIndex.from_frame(own))
    in_place = len(own) == COUNT and own[0] == known[0]
    if np.mean(in_place) >= 0.5:  # the CSV file, most of it in its order
        hint = np.where((hint < 0) & in_place, np.arange(COUNT), hint)
    homes, rows = pd.Index(known[0].unique()), np.full(len(own), -1)
    # The nearest within the tolerance, one to one. An image is first looked for in its own class,
    # then in all. Of equal pixels the row that the name tells is nearest, by less than one step.
    for weight in (1000, 0.01):
        points = np.c_[found, homes.get_indexer(own[0]) * weight, hint / COUNT / 2]
        forms = [np.c_[values, homes.get_indexer(known[0]) * weight, known.index / COUNT / 2]
                 for values in known_signatures()]
        more = True
        while more:
            left, free = np.flatnonzero(rows < 0), np.setdiff1d(known.index, rows)
            apart, nearest = cKDTree(np.concatenate([form[free] for form in forms])).query(
                points[left], distance_upper_bound=TOLERANCE * 3 * 8 ** 0.5)
            close = np.flatnonzero(np.isfinite(apart))
            close = close[np.argsort(apart[close], kind="stable")]
            row, first = np.unique(free[nearest[close] % len(free)], return_index=True)
            rows[left[close[first]]] = row
            more = len(row) > 0
    named = (rows < 0) & (hint >= 0) & ~np.isin(hint, rows)
    rows[named] = hint[named]
    return rows


def _what_was_done(sizes: np.ndarray, pixels: np.ndarray) -> str:
    """Guess from altered images what was done to them."""
    if (sizes != IMAGE_SIZE).any(axis=1).mean() > 0.5:
        width, height = np.median(sizes, axis=0).astype(int)
        return f" (their size was changed to {width} x {height})"
    # Greys spread evenly over 0 to 255 have a standard deviation of 73.9.
    if abs(np.median(pixels.std(axis=(1, 2))) - 73.9) < 2:
        return " (their greys were spread evenly: the histogram was equalised)"
    # Neighbouring pixels of the originals differ by 13.7 grey levels in the median image.
    if np.median(np.abs(np.diff(pixels.astype(np.int16))).mean(axis=(1, 2))) < 10.5:
        return " (they were blurred, or enlarged from a smaller size)"
    return ""
