"""Planted copies are found, changed ones too; counts are as an independent count."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageEnhance, ImageOps

from experiments import near_copies
from fer_helpers import copies
from fer_helpers import dataset as ds
from fer_helpers.course import EMOTIONS
from fer_helpers.identity import Identity

FIXTURE = ds.Dataset(ds.FIXTURE)
MIRROR = {"train/surprise/Training_00003026.jpg", "test/surprise/PublicTest_00003004.jpg"}
ACROSS = {"train/fear/Training_00002007.jpg", "test/fear/PrivateTest_00002005.jpg"}
TWO_LABELS = {"train/sad/Training_00001011.jpg", "train/neutral/Training_00004009.jpg"}
BLANK = "train/sad/Training_00001005.jpg"


@pytest.fixture(scope="module")
def marked():
    return near_copies.mark_copies(FIXTURE)


def test_finds_what_was_planted_and_nothing_else(marked):
    groups = marked.groupby("group")["path"].agg(set)
    assert sorted(map(sorted, groups[groups.map(len) > 1])) == sorted(
        map(sorted, (ACROSS, TWO_LABELS, MIRROR)))
    kinds = marked.set_index("path")["copy_in_train"]
    assert kinds[kinds != ""].to_dict() == {"test/fear/PrivateTest_00002005.jpg": "exact",
                                            "test/surprise/PublicTest_00003004.jpg": "near"}
    pairs = near_copies.similar_pairs(FIXTURE.pixels).query("similarity >= 0.85")
    pairs = pairs.assign(**{name: marked["path"].to_numpy()[pairs[name]]
                            for name in ("first", "second")}).set_index("similarity")
    assert set(*pairs.query("mirrored")[["first", "second"]].to_numpy()) == MIRROR
    assert len(pairs.loc[[1]]) == 2, "exactly 1 on every processor, so a tie stays one"
    counts = near_copies.count_copies(marked)
    assert counts["exact copies"].tolist() == [4, 2, 1, 1, 1]
    assert counts["exact and near copies"].tolist() == [6, 3, 2, 1, 2]
    disgust = marked[marked["emotion"] == "disgust"]  # twice, and not counted
    assert near_copies.count_copies(pd.concat([marked, disgust])).equals(counts)
    without = marked[~marked["path"].isin(ACROSS) | (marked["split"] == "test")]
    assert copies.copies_in_train(without).value_counts().to_dict() == {"": 290, "near": 1}
    assert near_copies.count_copies(without)["exact copies"].tolist() == [2, 1, 0, 1, 0]


def test_blank_images_are_copies_of_each_other_and_of_nothing_else(copy):
    """They have no description, so only their digest can tell."""
    blank = (copy / BLANK).read_bytes()
    (copy / "test" / "sad" / "blank.jpg").write_bytes(blank)
    found = near_copies.mark_copies(ds.Dataset(copy)).set_index("path")
    assert found.loc["test/sad/blank.jpg", "copy_in_train"] == "exact"
    assert found.loc["test/sad/blank.jpg", "group"] == found.loc[BLANK, "group"]
    for path in copy.rglob("*.jpg"):
        path.write_bytes(blank)
    found = near_copies.mark_copies(ds.Dataset(copy))
    assert found["group"].nunique() == 1
    assert near_copies.count_copies(found).loc["pictures that are there more than once"].eq(1).all()


def test_the_original_has_the_groups_that_are_shipped(copy, marked, monkeypatch):
    """Whatever its form, and whatever its pixels would say."""
    shipped = marked[["path"]].assign(group=np.arange(len(marked)) // 2)
    table = shipped.sample(frac=1, random_state=0).reset_index(drop=True)
    monkeypatch.setattr(near_copies, "images", lambda: table)
    for kind, expected in (("original", shipped), ("altered", marked)):
        monkeypatch.setattr(ds.Dataset, "identity", Identity(kind, "", ""))
        found = near_copies.mark_copies(ds.Dataset(copy))
        assert found["group"].tolist() == expected["group"].tolist()


# similarity

def saved_badly(image):
    image.save(buffer := io.BytesIO(), "JPEG", quality=30)
    return Image.open(buffer)


CHANGES = {
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    "less contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.6),
    "mirrored": ImageOps.mirror, "saved badly": saved_badly,
    "mirrored and darker": lambda image: ImageOps.mirror(image).point(lambda v: v * 0.7),
    "sharpened": lambda image: ImageEnhance.Sharpness(image).enhance(2),
}


def test_a_changed_copy_is_found():
    """Ten pictures of the fixture, each changed in every way, among the others."""
    chosen = np.arange(100, 110)
    changed = [np.asarray(change(Image.fromarray(FIXTURE.pixels[i])))
               for change in CHANGES.values() for i in chosen]
    pairs = near_copies.similar_pairs(np.concatenate([FIXTURE.pixels, changed]))
    found = pairs[pairs["similarity"] >= near_copies.SIMILAR]
    links = {*zip(found["first"], found["second"], strict=True)}
    for k, name in enumerate(CHANGES):
        wanted = {(i, len(FIXTURE.pixels) + 10 * k + j) for j, i in enumerate(chosen)}
        assert len(links & wanted) >= 8, name


def test_similarity_is_the_cosine_of_whitened_eigenface_coordinates():
    """The same by hand, with another way to the eigenfaces: a singular value decomposition."""
    rng = np.random.default_rng(0)
    noisy = FIXTURE.pixels + rng.normal(0, 12, (4, *FIXTURE.pixels.shape)).clip(-30, 30)
    noisy[3] = noisy[3, :, :, ::-1]  # some copies are mirrored, by more than one block
    pixels = noisy.clip(0, 255).astype(np.uint8).reshape(-1, 48, 48)
    pixels[[2, 700]] = 99  # blank
    shown = np.flatnonzero(pixels.std(axis=(1, 2)))
    both = np.concatenate([pixels[shown], pixels[shown][:, :, ::-1]])
    small = both.reshape(-1, 12, 4, 12, 4).mean(axis=(2, 4)).reshape(-1, 144)
    small -= small.mean(axis=1, keepdims=True)
    small /= np.linalg.norm(small, axis=1, keepdims=True)
    small -= small.mean(axis=0)
    _, values, faces = np.linalg.svd(small, full_matrices=False)
    described = small @ faces[:64].T / values[:64]
    described /= np.linalg.norm(described, axis=1, keepdims=True)
    plain, turned = (described[:len(shown)] @ half.T for half in np.split(described, 2))
    pairs = near_copies.similar_pairs(pixels)
    assert (pairs["first"] < pairs["second"]).all() and pairs["similarity"].max() <= 1
    assert pairs.equals(pairs.sort_values(["first", "second"], ignore_index=True))
    at = tuple(np.searchsorted(shown, pairs[["first", "second"]].T))  # among those not blank
    best = np.maximum(plain, turned)
    np.testing.assert_allclose(pairs["similarity"], best[at], atol=1e-3)
    clear = np.abs(plain - turned)[at] > 2e-3
    assert (pairs["mirrored"] == (turned > plain)[at])[clear].all()
    assert 100 < pairs["mirrored"].sum() < len(pairs) - 100
    listed = {*zip(*at, strict=True)}
    assert len(listed) == len(pairs), "each pair once"
    assert {*zip(*np.nonzero(np.triu(best, 1) >= near_copies.LISTED + 1e-3), strict=True)} <= listed
    assert (best[at] >= near_copies.LISTED - 1e-3).all()


# groups and counts

def test_copies_of_copies_are_one_group():
    five = pd.DataFrame({"digest": list("ppqrs")})
    pairs = pd.DataFrame({"first": [1, 2, 3], "second": [2, 3, 4],
                          "similarity": [0.85, 0.82, 0.91]})
    assert near_copies.find_groups(five, pairs).tolist() == [0, 0, 0, 1, 1]
    assert near_copies.find_groups(five, pairs, 0.8).tolist() == [0] * 5
    assert near_copies.find_groups(five, pairs[:0]).tolist() == [0, 0, 1, 2, 3]


@pytest.mark.parametrize("by", ["digest", "group"])
def test_copies_against_a_count_by_hand(by):
    rng = np.random.default_rng(3)
    n = 500  # many copies, across every border
    index = pd.DataFrame({"split": rng.choice(["train", "test"], n, p=[0.8, 0.2]),
                          "emotion": rng.choice(EMOTIONS, n), "group": rng.integers(0, n // 2, n)})
    index["digest"] = 2 * index["group"] + rng.integers(0, 2, n)
    expected = {}
    for value in set(index[by]):
        rows = index[index[by] == value]
        if len(rows) > 1:
            expected[value] = (len(rows), len(set(rows["split"])) > 1, len(set(rows["emotion"])))
    found = near_copies.copy_groups(index, by)
    assert {row.Index: (row.images, row.across, row.labels) for row in found.itertuples()} \
        == expected


def test_the_weighted_mean_of_notebook_6_is_that_of_mantel_and_haenszel(functions_of):
    n1, right1, n2, right2 = np.array([[155, 120, 10, 6], [9, 8, 8, 3], [5, 2, 0, 0]]).T
    by_hand = ((120 / 155 - 6 / 10) * 155 * 10 / 165 + (8 / 9 - 3 / 8) * 9 * 8 / 17) \
        / (155 * 10 / 165 + 9 * 8 / 17)
    means = np.concatenate([n1, n2, right1, right2]) / 1000
    assert functions_of("06_copies")["weighted_mean"](means) == pytest.approx(by_hand)
