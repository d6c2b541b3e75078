"""Know FER-2013 by its pixels: is a dataset the original, an altered copy of it, or another one?

What is shipped to know it by holds no image: for each of the 35,887 rows of the competition's
``fer2013.csv`` the path of the same image in Kaggle's layout, and eight numbers for each of the two
forms. They are sums of the pixels with random signs. Such sums keep distances (Johnson and
Lindenstrauss, 1984; Achlioptas, 2003): how far two images are apart can be told from their sums.
"""

import contextlib
import functools
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from fer_helpers.course import IMAGE_SIZE, REFERENCE, CourseError

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


@dataclass(frozen=True)
class Identity:
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
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise CourseError(
            f"{path} is missing or damaged ({error}). By it the course knows FER-2013. Restore it: "
            f"git restore data/reference/{path.name}") from error


@functools.cache
def images() -> pd.DataFrame:
    """Return the table of FER-2013's images, one row for each of ``fer2013.csv``, in its order.

    Its columns are ``path`` in Kaggle's layout, ``split`` and ``emotion``, ``usage`` (of the CSV),
    the ten votes of FER+ (``neutral`` to ``NF``, not a face; Barsoum et al., 2016), and of Kaggle's
    files ``digest`` (equal number, equal pixels), ``group`` (equal number, exact or near copy),
    ``brightness`` and ``contrast`` (mean and standard deviation, 0 to 255). Raises CourseError if
    the file is missing or damaged.
    """
    with _shipped(IMAGES):
        table = pd.read_csv(IMAGES, keep_default_na=False)
        if len(table) != COUNT or not table["path"].is_unique:
            raise ValueError(f"{len(table):,} rows, {table['path'].nunique():,} paths")
    place = table["path"].str.split("/", expand=True)
    return table.assign(split=place[0], emotion=place[1])


@functools.cache
def known_signatures() -> np.ndarray:
    """Return the signatures of FER-2013, int16 [2, 35887, 8], by form and in the CSV's order.

    Raises CourseError if the file is missing or damaged.
    """
    with _shipped(SIGNATURES), np.load(SIGNATURES, allow_pickle=False) as file:
        kaggle, change = file["kaggle"], file["csv_minus_kaggle"]
        if not kaggle.shape == change.shape == (COUNT, 8):
            raise ValueError(f"shapes {kaggle.shape} and {change.shape}")
        return np.stack([kaggle, kaggle + change])


def recognise(paths: list[str], sizes: np.ndarray, pixels: np.ndarray) -> tuple[list, Identity]:
    """Compare a dataset with FER-2013, image by image, whatever its files are called.

    ``paths`` are ``split/emotion/name``; ``sizes`` is int [n, 2], width and height of each file;
    ``pixels`` is uint8 [n, 48, 48]; all in one order, for a CSV file that of its rows. Returns the
    paths, where FER-2013's images have their names in Kaggle's layout, and what the dataset is.
    """
    known, found = images()["path"].str.rpartition("/"), signatures(pixels)
    own = pd.Series(paths, dtype=object).str.rpartition("/")
    rows = _matches(own, known, found)
    here = np.flatnonzero(rows >= 0)
    apart = difference(known_signatures()[:, rows[here]], found[here])
    changed = apart.min(axis=0) > TOLERANCE
    wrong = {
        "have other pixels": changed.sum(),
        "have another label or split":
            (own.loc[here, 0].to_numpy() != known.loc[rows[here], 0].to_numpy()).sum(),
        "are missing": COUNT - len(here),
        "were added": len(paths) - len(here),
    }
    own.loc[here, 2] = known.loc[rows[here], 2].to_numpy()
    # No two images may share a path: those that are not FER-2013's give way.
    names = (own[0] + "/" + own[2]).iloc[np.argsort(rows < 0, kind="stable")]
    again = names.groupby(names).cumcount()
    names = names.where(again == 0, names + " (" + (again + 1).astype(str) + ")").sort_index()
    if len(here) < COUNT / 2:
        same = len(here) - changed.sum()
        return list(names), Identity("other", "", (
            f"{same:,} of these {len(paths):,} images are FER-2013's, which has {COUNT:,}: a part "
            "of it is not compared with the whole." if same >= len(paths) / 2 else
            "This is another dataset than FER-2013: its results stand for themselves."))
    if not any(wrong.values()):
        form = list(FORMS)[np.median(apart, axis=1).argmin()]
        return list(names), Identity(
            "original", form, f"This is the original FER-2013: {FORMS[form]}")
    counted = ", ".join(f"{count:,} {what}" for what, count in wrong.items() if count)
    done = _what_was_done(sizes[here][changed], pixels[here][changed]) if changed.any() else ""
    return list(names), Identity("altered", "", (
        f"This is an altered copy of FER-2013: compared with the original's {COUNT:,} images, "
        f"{counted}{done}. Results on it cannot be compared with the report's, nor with the runs "
        "that come with the course. data/README.md tells where to get the original."))


def _matches(own: pd.DataFrame, known: pd.DataFrame, found: np.ndarray) -> np.ndarray:
    """Say which row of FER-2013 each image is, or -1: by its pixels; if these changed, by name.

    ``own`` and ``known`` have the columns 0 (split/emotion) and 2 (name).
    """
    names = pd.MultiIndex.from_frame(known[[0, 2]]).get_indexer(pd.MultiIndex.from_frame(own[[0, 2]]))
    # Whose names say nothing may be the rows of the CSV file in their order.
    guess = np.where(names < 0, np.arange(len(own)), names)
    in_order = len(own) == COUNT and (own[0].to_numpy() == known.loc[guess, 0].to_numpy()).mean() >= 0.5
    # Among equal pixels the same class goes first, then the row of that name or place: a little
    # apart, so that all of it is less than one step of a signature.
    homes = pd.Index(known[0].unique())
    def place(frame, row):
        return np.c_[homes.get_indexer(frame[0]) / 20, row / COUNT / 20]
    points = np.c_[found, place(own, np.minimum(guess, COUNT))]
    targets = [np.c_[one, place(known, np.arange(COUNT))] for one in known_signatures()]
    rows = np.full(len(own), -1)
    while True:
        open_, free = np.flatnonzero(rows < 0), np.setdiff1d(np.arange(COUNT), rows)
        if not len(open_) or not len(free): break
        tree = cKDTree(np.concatenate([one[free] for one in targets]))
        apart, nearest = tree.query(points[open_], distance_upper_bound=TOLERANCE * 3 * 8 ** 0.5)
        close = np.isfinite(apart)
        if not close.any(): break
        pairs = pd.DataFrame({"image": open_[close], "row": free[nearest[close] % len(free)], "apart": apart[close]})
        pairs = pairs.sort_values("apart", kind="stable").drop_duplicates("row")
        rows[pairs["image"]] = pairs["row"]
    for hint in (names, guess if in_order else names):
        left = (rows < 0) & (hint >= 0) & ~np.isin(hint, rows)
        rows[left] = hint[left]
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
