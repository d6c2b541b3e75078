"""Know FER-2013 by its pixels: is a dataset the original, an altered copy of it, or another one?

What is shipped to know it by holds no image: for each of the 35,887 rows of the competition's
``fer2013.csv`` the path of the same image in Kaggle's layout, and eight numbers for each of the two
forms. They are sums of the pixels with random signs. Such sums keep distances (Johnson and
Lindenstrauss, 1984; Achlioptas, 2003): how far two images are apart can be told from their sums.
"""

import functools
import gzip
import zipfile
import zlib
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fer_helpers.emotions import COURSE, IMAGE_SIZE, CourseError

IMAGES = COURSE / "data" / "reference" / "fer2013_images.csv.gz"
SIGNATURES = COURSE / "data" / "reference" / "fer2013_signatures.npz"
COUNT = 35_887
FORMS = ("Kaggle's files", "fer2013.csv")

# Grey levels, root mean square over an image. Two JPEG decoders differ by less; a blur that the eye
# can see, spread greys or another size by more. The files and the CSV differ by 1.7, and each is
# compared with itself.
TOLERANCE = 2.5

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
    sums = [flat[start:start + 1000].astype(np.float32) @ _SIGNS.astype(np.float32)
            for start in range(0, len(flat), 1000)]
    return np.rint(np.concatenate([np.empty((0, 8)), *sums]) / 16).astype(np.int16)


def difference(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Estimate from signatures [n, 8] how far images are apart: root mean square, grey levels."""
    return np.sqrt(((first.astype(float) - second) ** 2).mean(axis=-1)) / 3


@functools.cache
def images() -> pd.DataFrame:
    """Return the table of FER-2013's images, one row for each of ``fer2013.csv``, in its order.

    Raises
    ------
    CourseError
        If the file is missing or damaged.
    """
    try:
        with gzip.open(IMAGES, "rt", encoding="utf-8", newline="") as file:
            table = pd.read_csv(file, keep_default_na=False)
        if len(table) != COUNT or not table["path"].is_unique:
            raise ValueError(f"{len(table):,} rows, {table['path'].nunique():,} paths")
    except (OSError, ValueError, KeyError, EOFError, zlib.error) as error:
        raise _damaged(IMAGES, error) from error
    return table


@functools.cache
def known_signatures() -> np.ndarray:
    """Return the signatures of FER-2013, int16 [2, 35887, 8], by form and in the CSV's order.

    Raises
    ------
    CourseError
        If the file is missing or damaged.
    """
    try:
        with np.load(SIGNATURES, allow_pickle=False) as file:
            kaggle, change = file["kaggle"], file["csv_minus_kaggle"]
        if not kaggle.shape == change.shape == (COUNT, 8):
            raise ValueError(f"shapes {kaggle.shape} and {change.shape}")
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise _damaged(SIGNATURES, error) from error
    return np.stack([kaggle, kaggle + change])


def _damaged(path, error) -> CourseError:
    return CourseError(
        f"{path} is missing or damaged ({error}). By it the course knows FER-2013. Restore it: "
        f"git restore data/reference/{path.name}"
    )


def names_by_row(paths: list[str]) -> list[str]:
    """Give the rows of a CSV file, in its order, the names of the same images in Kaggle's layout.

    Each keeps its own split and class. If most rows have another split or class than FER-2013's,
    or their number differs, it is another file: then the paths come back unchanged.
    """
    if len(paths) != COUNT:
        return paths
    known = [path.rpartition("/") for path in images()["path"]]
    homes = [path.rpartition("/")[0] for path in paths]
    agree = sum(home == place for home, (place, _, _) in zip(homes, known, strict=True))
    if agree < COUNT / 2:
        return paths
    return [f"{home}/{name}" for home, (_, _, name) in zip(homes, known, strict=True)]


def identify(paths: list[str], sizes: np.ndarray, pixels: np.ndarray) -> Identity:
    """Compare a dataset with FER-2013.

    Parameters
    ----------
    paths
        ``split/emotion/name``; of a CSV file after :func:`names_by_row`.
    sizes
        int [n, 2], width and height of each file.
    pixels
        uint8 [n, 48, 48], in the same order.
    """
    known = pd.Index(images()["path"])
    rows = known.get_indexer(pd.Index(paths))
    here = rows >= 0
    found = signatures(pixels)
    if here.sum() < COUNT / 2:
        return Identity("other", "", _other(found))
    apart = difference(known_signatures()[:, rows[here]], found[here])
    form = int(np.median(apart, axis=1).argmin())
    changed = apart.min(axis=0) > TOLERANCE
    missing = known[~np.isin(np.arange(COUNT), rows)]
    added = pd.Index(paths)[~here]
    relabelled = len(_names(missing).intersection(_names(added)))
    wrong = {
        "{:,} have other pixels": changed.sum(),
        "{:,} have another label or split": relabelled,
        "{:,} are missing": len(missing) - relabelled,
        "{:,} were added": len(added) - relabelled,
    }
    if not any(wrong.values()):
        return Identity("original", FORMS[form], _ORIGINAL[form])
    counted = ", ".join(text.format(count) for text, count in wrong.items() if count)
    done = _what_was_done(sizes[here][changed], pixels[here][changed]) if changed.any() else ""
    return Identity("altered", "", (
        f"This is an altered copy of FER-2013: compared with the original's {COUNT:,} images, "
        f"{counted}{done}. Results on it cannot be compared with the report's, nor with the runs "
        "that come with the course. data/README.md tells where to get the original."))


_ORIGINAL = (
    "This is the original FER-2013: every image has the pixels of Kaggle's files.",
    "This is the original FER-2013: every image has the pixels of the competition's fer2013.csv. "
    "Kaggle's files show the same images, but JPEG changed their pixels a little, so "
    "results differ a little from the runs that come with the course.",
)


def _names(paths: pd.Index) -> pd.Index:
    return pd.Index([path.rpartition("/")[2] for path in paths])


def _other(found: np.ndarray) -> str:
    """Say of a dataset with other names whether its pixels are FER-2013's all the same."""
    def first_four(array):  # as one number
        return np.ascontiguousarray(array[..., :4]).view(np.int64).ravel()

    same = int(np.isin(first_four(found), first_four(known_signatures())).sum())
    if same < len(found) / 2:
        return "This is another dataset than FER-2013: its results stand for themselves."
    return (
        f"{same:,} of these {len(found):,} images have pixels of FER-2013, but their names, or the "
        "order of their rows, are not the original's, so they are not compared with it. "
        "data/README.md tells where to get the original.")


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
