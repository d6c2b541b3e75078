"""What is known of the copies in FER-2013, counted again by hand."""

import numpy as np
import pytest

from experiments.near_copies import count_copies
from fer_helpers import copies
from fer_helpers import dataset as ds
from fer_helpers.identity import images
from machinery.files import CourseError


@pytest.mark.parametrize("seed", [{}, {"seed": 1}])
def test_known_copies_say_of_each_test_image_what_its_copies_are(seed):
    kept = ds.balance(images(), ds.REPORT_SIZES, **seed)
    sides = [kept[kept["split"] == split] for split in ds.SPLITS]
    left_out = images()[images()["split"] == "train"].drop(sides[0].index)
    table = images()
    six = table[(table["split"] == "test") & (table["emotion"] != "disgust")]
    shuffled = six.sample(frac=1, random_state=0)
    found = copies.known_copies(shuffled["path"].to_numpy(), **seed)
    assert found["group"].tolist() == shuffled["group"].tolist()
    for column, train in (("copy_in_train", sides[0]), ("copy_left_out", left_out)):
        digests, groups = set(train["digest"]), set(train["group"])
        for row, digest in zip(found.itertuples(), shuffled["digest"], strict=True):
            kind = "exact" if digest in digests else "near" if row.group in groups else ""
            known = column == "copy_left_out" and row.copy_in_train
            assert getattr(row, column) == ("" if known else kind)
    counts = count_copies(kept).loc["test images with a copy in train"]
    found = found.loc[sides[1]["path"]]
    assert [(found["copy_in_train"] == "exact").sum(), (found["copy_in_train"] != "").sum()] \
        == counts.tolist()
    disgust = table.query("split == 'test' and emotion == 'disgust'")["path"].iloc[0]
    for other in ("train/sad/a.jpg", disgust):
        with pytest.raises(CourseError, match=f"{other} is not a test"):
            copies.known_copies(np.array([shuffled["path"].iloc[0], other]))
