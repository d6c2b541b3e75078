"""What is wrong with the images: copies, blanks, odd sizes; and a split without leaks."""

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.decomposition import PCA
from sklearn.model_selection import StratifiedGroupKFold

from fer_helpers.dataset import Dataset, DatasetError, index_images
from fer_helpers.emotions import EMOTIONS, IMAGE_SIZE, SPLITS

SIMILAR = 0.85  # cosine from which two images count as near copies; notebook 1 shows why
LISTED = 0.6  # cosine from which a pair is listed at all
ALMOST_BLANK = 0.65  # share of one grey from which an image is worth a look


def similar_pairs(dataset: Dataset) -> pd.DataFrame:
    """List the pairs of images that look alike, even if one is cropped, relit or mirrored.

    Each image is averaged down to 12 x 12, made independent of brightness and contrast, and
    described by its coordinates on 64 eigenfaces (Turk and Pentland, 1991), each divided by its
    spread over the dataset. What all faces have in common then counts little, and what is
    particular to one picture counts much. Blank images have no description.

    Returns
    -------
    DataFrame
        One row a pair whose cosine is at least ``LISTED``: ``first`` and ``second`` (positions in
        the index, first < second), ``similarity`` (the cosine, -1 to 1) and ``mirrored`` (bool).
    """
    return pd.DataFrame(dataset.cached("pairs", lambda: _pairs(dataset.pixels)))


def _pairs(pixels: np.ndarray) -> dict[str, np.ndarray]:
    plain, mirrored = _small(pixels), _small(pixels[:, :, ::-1])
    shown = np.flatnonzero(plain.any(axis=1))  # not blank
    if not len(shown):
        none = np.array([], dtype=int)
        return {"first": none, "second": none, "similarity": none, "mirrored": none}
    eigenfaces = PCA(min(64, len(shown)), whiten=True, svd_solver="covariance_eigh")
    # With the mirrored images too, it makes no difference which one of a pair is the mirrored one.
    eigenfaces.fit(np.concatenate([plain[shown], mirrored[shown]]))
    described, turned = (_unit(eigenfaces.transform(x[shown])) for x in (plain, mirrored))
    found = []
    for start in range(0, len(shown), 1000):  # a block at a time, to save memory
        for others in (described, turned):
            # The cosine of two vectors of length 1 is their product.
            cosines = described[start:start + 1000] @ others[start:].T
            first, second = np.divmod(np.flatnonzero(cosines >= LISTED), cosines.shape[1])
            found.append(pd.DataFrame({
                "first": shown[first + start], "second": shown[second + start],
                "similarity": cosines[first, second].clip(max=1), "mirrored": others is turned,
            }))
    pairs = pd.concat(found).query("first < second")
    best = pairs.sort_values("similarity", ascending=False, kind="stable")
    best = best.drop_duplicates(["first", "second"]).sort_values(["first", "second"])
    return {name: column.to_numpy() for name, column in best.items()}


def _small(pixels: np.ndarray, side: int = 12) -> np.ndarray:
    """Average [n, 48, 48] down to [n, 144]; then mean 0 and length 1, or all 0 if blank."""
    step = IMAGE_SIZE // side
    blocks = pixels.reshape(-1, side, step, side, step).mean(axis=(2, 4), dtype=np.float32)
    blocks = blocks.reshape(-1, side**2)
    return _unit(blocks - blocks.mean(axis=1, keepdims=True))


def _unit(vectors: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.maximum(length, 1e-6)).astype(np.float32)


def mark_copies(dataset: Dataset) -> pd.DataFrame:
    """Return the index of a dataset with two more columns.

    Returns
    -------
    DataFrame
        As from :func:`fer_helpers.dataset.index_images`, with ``group`` (int: images with the same
        number are exact or near copies of each other, directly or over others) and
        ``copy_in_train`` (see :func:`copies_in_train`). Near copies are the pairs with a
        similarity of at least ``SIMILAR``.
    """
    index = index_images(dataset)
    pairs = similar_pairs(dataset).query("similarity >= @SIMILAR")
    _, same_digest = np.unique(index["digest"], return_inverse=True)
    n = len(index)
    # A graph: near copies are joined, and each image is joined to a node of its digest.
    first = np.concatenate([pairs["first"], np.arange(n)])
    second = np.concatenate([pairs["second"], n + same_digest])
    edges = coo_array((np.ones(len(first), dtype=bool), (first, second)), shape=(2 * n, 2 * n))
    _, group = connected_components(edges, directed=False)
    marked = index.assign(group=pd.factorize(group[:n])[0])
    return marked.assign(copy_in_train=copies_in_train(marked))


def copies_in_train(frame: pd.DataFrame) -> pd.Series:
    """Say of each image outside *train* whether a copy of it is among the frame's training images.

    Returns
    -------
    Series of text
        ``exact`` (same pixels), ``near`` (same group), or nothing; nothing for *train* itself.
    """
    train = frame["split"] == "train"
    exact = frame["digest"].isin(frame.loc[train, "digest"])
    near = frame["group"].isin(frame.loc[train, "group"])
    kind = np.select([train, exact, near], ["", "exact", "near"], "")
    return pd.Series(kind, index=frame.index, name="copy_in_train", dtype=str)


def copy_groups(frame: pd.DataFrame, by: str) -> pd.DataFrame:
    """List the pictures that are there more than once.

    Parameters
    ----------
    by
        ``digest`` for exact copies, ``group`` for near ones too.

    Returns
    -------
    DataFrame
        One row a picture, with ``images`` (how many), ``across`` (whether it is in more than one
        split) and ``labels`` (how many different emotions it has).
    """
    groups = frame.groupby(by)
    table = pd.DataFrame({
        "images": groups.size(), "across": groups["split"].nunique() > 1,
        "labels": groups["emotion"].nunique(),
    })
    return table[table["images"] > 1]


def count_faults(index: pd.DataFrame, faults: pd.DataFrame) -> pd.DataFrame:
    """Count what is wrong with single images, by split. Both frames are those of a dataset."""
    conditions = {
        "cannot be read": None,
        "not 48 x 48": (index["width"] != IMAGE_SIZE) | (index["height"] != IMAGE_SIZE),
        "not 8-bit grey": index["mode"] != "L",
        "blank: one grey everywhere": index["flat"] == 1,
        f"almost blank: one grey in {ALMOST_BLANK:.0%} or more":
            (index["flat"] >= ALMOST_BLANK) & (index["flat"] < 1),
    }
    return pd.DataFrame({
        split: {what: int(faults["path"].str.startswith(f"{split}/").sum()) if found is None
                else int((found & (index["split"] == split)).sum())
                for what, found in conditions.items()}
        for split in SPLITS
    })


def count_copies(index: pd.DataFrame) -> pd.DataFrame:
    """Count copies over the six classes; ``index`` is from :func:`mark_copies`, or rows of it."""
    six = index[index["emotion"].isin(EMOTIONS)]
    in_train = copies_in_train(six)
    columns = {}
    for name, by, kinds in (("exact copies", "digest", ["exact"]),
                            ("exact and near copies", "group", ["exact", "near"])):
        groups = copy_groups(six, by)
        columns[name] = {
            "images that have a copy": groups["images"].sum(),
            "pictures that are there more than once": len(groups),
            "pictures in train and in test": groups["across"].sum(),
            "pictures under two labels or more": (groups["labels"] > 1).sum(),
            "test images with a copy in train": in_train.isin(kinds).sum(),
        }
    return pd.DataFrame(columns).astype(int)


def split_without_leaks(frame: pd.DataFrame, *, parts: int = 10, seed: int = 0) -> pd.DataFrame:
    """Carve a validation set out of *train* and take from *test* what has a copy in either.

    Groups stay together, so no picture is on two sides; the classes keep their shares as far as
    the groups allow.

    Parameters
    ----------
    frame
        From :func:`mark_copies`, or rows of it.
    parts
        One of so many equal parts of *train* becomes validation.

    Returns
    -------
    DataFrame
        The rows that remain, with ``split`` one of *train*, *validation* and *test*.

    Raises
    ------
    DatasetError
        If a class has too few different pictures for so many parts.
    """
    train = frame[frame["split"] == "train"]
    pictures = train.groupby("emotion")["group"].nunique()
    if pictures.min() < parts:
        raise DatasetError(
            f"train/{pictures.idxmin()} has {pictures.min()} different pictures, too few for "
            f"{parts} parts. Keep more images of each class, or ask for fewer parts."
        )
    test = frame[(frame["split"] == "test") & ~frame["group"].isin(train["group"])]
    folds = StratifiedGroupKFold(parts, shuffle=True, random_state=seed)
    _, held_out = next(folds.split(train, train["emotion"], train["group"]))
    train = train.assign(split=np.where(np.isin(np.arange(len(train)), held_out),
                                        "validation", "train"))
    return pd.concat([train, test]).sort_index()


def mean_faces(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Average the images of each class: float32 [6, 48, 48, 1] from uint8 [n, 48, 48, 1].

    Each class must have an image.
    """
    return np.stack([images[labels == label].mean(axis=0, dtype=np.float32)
                     for label in range(len(EMOTIONS))])
