"""Find near copies in any dataset, and count all copies: the machinery of notebook 6.

``make_identity.py`` made with it the groups that come with the course for the original FER-2013.
"""

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.decomposition import PCA

from fer_helpers.copies import copies_in_train
from fer_helpers.course import EMOTIONS, IMAGE_SIZE
from fer_helpers.dataset import Dataset, index_images
from fer_helpers.identity import images

SIMILAR = 0.85  # cosine from which two images count as near copies; notebook 6 shows why
LISTED = 0.6  # cosine from which a pair is listed at all


def similar_pairs(pixels: np.ndarray) -> pd.DataFrame:
    """List the pairs of images that look alike, even if one is cropped, relit or mirrored.

    ``pixels`` is uint8 [n, 48, 48]. Each image is averaged down to 12 x 12, made independent of
    brightness and contrast, and described by its coordinates on 64 eigenfaces (Turk and Pentland,
    1991), each divided by its spread over the dataset. What all faces have in common then counts
    little, and what is particular to one picture counts much. Blank images have no description.

    Returns one row a pair whose cosine is at least ``LISTED``: ``first`` and ``second`` (positions
    in ``pixels``, first < second), ``similarity`` (the cosine, -1 to 1, rounded: the last digits
    are the processor's) and ``mirrored`` (bool).
    """
    plain, mirrored = _small(pixels), _small(pixels[:, :, ::-1])
    shown = np.flatnonzero(plain.any(axis=1))  # not blank
    if not len(shown):
        return pd.DataFrame({name: np.array([], int)
                             for name in ("first", "second", "similarity", "mirrored")})
    eigenfaces = PCA(min(64, len(shown)), whiten=True, svd_solver="full")  # exact
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
                "similarity": cosines[first, second].round(5), "mirrored": others is turned,
            }))
    pairs = pd.concat(found).query("first < second")
    best = pairs.sort_values("similarity", ascending=False, kind="stable")
    best = best.drop_duplicates(["first", "second"])
    return best.sort_values(["first", "second"], ignore_index=True)


def _small(pixels: np.ndarray, side: int = 12) -> np.ndarray:
    """Average [n, 48, 48] down to [n, 144]; then mean 0 and length 1, or all 0 if blank."""
    step = IMAGE_SIZE // side
    blocks = pixels.reshape(-1, side, step, side, step).mean(axis=(2, 4), dtype=np.float32)
    blocks = blocks.reshape(-1, side**2)
    return _unit(blocks - blocks.mean(axis=1, keepdims=True))


def _unit(vectors: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.maximum(length, 1e-6)).astype(np.float32)


def find_groups(index: pd.DataFrame, pairs: pd.DataFrame, similar: float = SIMILAR) -> np.ndarray:
    """Number the images, int [n]: the same number for copies, exact or near.

    ``index`` is from :func:`fer_helpers.dataset.index_images`, ``pairs`` from
    :func:`similar_pairs`; near copies are those with a similarity of at least ``similar``.
    """
    pairs = pairs[pairs["similarity"] >= similar]
    _, same_digest = np.unique(index["digest"], return_inverse=True)
    n = len(index)
    # A graph: near copies are joined, and each image is joined to a node of its digest.
    first = np.concatenate([pairs["first"], np.arange(n)])
    second = np.concatenate([pairs["second"], n + same_digest])
    edges = coo_array((np.ones(len(first), dtype=bool), (first, second)), shape=(2 * n, 2 * n))
    _, group = connected_components(edges, directed=False)
    return pd.factorize(group[:n])[0]


def mark_copies(dataset: Dataset) -> pd.DataFrame:
    """Return the index of a dataset with two more columns.

    They are ``group`` (int: images with the same number are exact or near copies of each other,
    directly or over others) and ``copy_in_train`` (see :func:`fer_helpers.copies.copies_in_train`).
    For the original FER-2013 the groups are those that come with the course, found in Kaggle's
    files: so they are the same in both of its forms.
    """
    index = index_images(dataset)
    if dataset.identity.kind == "original":
        marked = index.assign(group=index["path"].map(images().set_index("path")["group"]))
    else:
        marked = index.assign(group=find_groups(index, similar_pairs(dataset.pixels)))
    return marked.assign(copy_in_train=copies_in_train(marked))


def copy_groups(frame: pd.DataFrame, by: str) -> pd.DataFrame:
    """List the pictures that are there more than once, by ``digest`` or, near ones too, ``group``.

    Returns one row a picture, with ``images`` (how many), ``across`` (whether it is in more than
    one split) and ``labels`` (how many different emotions it has).
    """
    groups = frame.groupby(by)
    table = pd.DataFrame({
        "images": groups.size(), "across": groups["split"].nunique() > 1,
        "labels": groups["emotion"].nunique(),
    })
    return table[table["images"] > 1]


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
