"""Which images are copies of others: what came out of the search in ``experiments``, and is known.

Images with the same ``digest`` have the same pixels; those with the same ``group`` are exact or
near copies. :func:`fer_helpers.identity.images` has both for FER-2013.
"""

import functools

import numpy as np
import pandas as pd

from fer_helpers.course import EMOTIONS
from fer_helpers.dataset import REPORT_SIZES, balance
from fer_helpers.identity import images
from machinery.files import CourseError


def copies_in_train(frame: pd.DataFrame) -> pd.Series:
    """Say of each image outside *train* whether a copy of it is among the frame's training images.

    ``frame`` has ``split``, ``digest`` and ``group``. Returns texts: ``exact`` (same pixels),
    ``near`` (same group), or nothing, as for *train*.
    """
    train = frame["split"] == "train"
    exact = frame["digest"].isin(frame.loc[train, "digest"])
    near = frame["group"].isin(frame.loc[train, "group"])
    kind = np.select([train, exact, near], ["", "exact", "near"], "")
    return pd.Series(kind, index=frame.index, name="copy_in_train")


def known_copies(ids: np.ndarray, seed: int = 0) -> pd.DataFrame:
    """Say which test images of the original FER-2013 are copies; no dataset is needed.

    ``ids`` is str [n], paths of test images of the six classes, such as ``ids`` of a run; ``seed``
    that of the draw (``balance``), which decides what a network has seen. Returns one row an image,
    in the same order: ``group`` (equal for copies of each other), ``copy_in_train`` (``exact``,
    ``near`` or nothing), and ``copy_left_out``, the same for copies among the training images that
    were not drawn, which a network has never seen. Raises CourseError if an image is not one.
    """
    rows = _known_test(seed).reindex(ids)
    if rows["group"].isna().any():
        raise CourseError(f"{ids[rows['group'].isna().argmax()]} is not a test image of the six "
                          "classes of FER-2013, so nothing is known about its copies.")
    return rows.astype({"group": int})


@functools.cache
def _known_test(seed: int) -> pd.DataFrame:
    table = images()
    test = table[(table["split"] == "test") & table["emotion"].isin(EMOTIONS)]
    kept = balance(table, REPORT_SIZES, seed=seed).query("split == 'train'")
    seen, anywhere = (copies_in_train(frame)[test.index]
                      for frame in (pd.concat([kept, test]), table))
    test = test.assign(copy_in_train=seen, copy_left_out=anywhere.where(seen == "", ""))
    return test.set_index("path")[["group", "copy_in_train", "copy_left_out"]]
