"""The audit finds what was planted, counts like an independent count, and splits without leaks."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageEnhance, ImageOps

from fer_helpers import audit
from fer_helpers import dataset as ds
from fer_helpers.emotions import EMOTIONS

FIXTURE = ds.Dataset(ds.FIXTURE)
MIRROR = {"train/surprise/Training_00003026.jpg", "test/surprise/PublicTest_00003004.jpg"}
ACROSS = {"train/fear/Training_00002007.jpg", "test/fear/PrivateTest_00002005.jpg"}
TWO_LABELS = {"train/sad/Training_00001011.jpg", "train/neutral/Training_00004009.jpg"}


@pytest.fixture(scope="module")
def marked():
    return audit.mark_copies(FIXTURE)


def test_finds_what_was_planted_and_nothing_else(marked):
    groups = marked.groupby("group")["path"].agg(set)
    found = [group for group in groups if len(group) > 1]
    assert len(found) == 3
    assert all(group in found for group in (ACROSS, TWO_LABELS, MIRROR))
    kinds = marked.set_index("path")["copy_in_train"]
    assert kinds[kinds != ""].to_dict() == {"test/fear/PrivateTest_00002005.jpg": "exact",
                                            "test/surprise/PublicTest_00003004.jpg": "near"}
    pairs = audit.similar_pairs(FIXTURE).query("mirrored and similarity >= @audit.SIMILAR")
    assert set(marked["path"].iloc[[pairs["first"].item(), pairs["second"].item()]]) == MIRROR


def test_blank_images_are_copies_of_each_other(copy):
    # They have no description, so only their digest can tell.
    (copy / "test" / "sad" / "blank.jpg").write_bytes(
        (copy / "train" / "sad" / "Training_00001005.jpg").read_bytes())
    data = ds.Dataset(copy)
    kinds = audit.mark_copies(data).set_index("path")["copy_in_train"]
    assert kinds["test/sad/blank.jpg"] == "exact"
    groups = audit.mark_copies(data).set_index("path")["group"]
    assert groups["test/sad/blank.jpg"] == groups["train/sad/Training_00001005.jpg"]


def test_counts_of_the_fixture(marked):
    faults = audit.count_faults(marked, FIXTURE.faults)
    assert faults.sum(axis=1).tolist() == [0, 1, 0, 1, 0]
    copies = audit.count_copies(marked)
    assert copies["exact copies"].tolist() == [4, 2, 1, 1, 1]
    assert copies["exact and near copies"].tolist() == [6, 3, 2, 1, 2]


def test_files_left_out_are_counted_by_split(fixture_index):
    faults = pd.DataFrame({"path": ["train/sad/a.jpg", "test/sad/b.jpg", "test/sad/train/c.jpg"],
                           "fault": ["", "", ""]})
    assert audit.count_faults(fixture_index, faults).loc["cannot be read"].to_dict() == {
        "train": 1, "test": 2}


CHANGES = {
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    "less contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.6),
    "mirrored": ImageOps.mirror,
    "mirrored and darker": lambda image: ImageOps.mirror(image).point(lambda v: v * 0.7),
    "saved badly": lambda image: Image.open(io.BytesIO(jpeg(image, 30))),
    "sharpened": lambda image: ImageEnhance.Sharpness(image).enhance(2),
}


def jpeg(image, quality):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_copy_is_found(change):
    # Ten pictures of the fixture, changed, among the others.
    chosen = np.arange(100, 110)
    copies = [np.asarray(change(Image.fromarray(FIXTURE.pixels[i]))) for i in chosen]
    pairs = pd.DataFrame(audit._pairs(np.concatenate([FIXTURE.pixels, copies])))
    found = pairs[pairs["similarity"] >= audit.SIMILAR]
    links = set(zip(found["first"], found["second"], strict=True))
    expected = {(int(i), len(FIXTURE.pixels) + k) for k, i in enumerate(chosen)}
    assert len(expected & links) >= 9


def test_similarity_is_the_cosine_of_whitened_eigenface_coordinates():
    # The same by hand, with another way to the eigenfaces: a singular value decomposition.
    pixels = FIXTURE.pixels
    shown = [i for i in range(len(pixels)) if pixels[i].std() > 0]
    both = [pixels[i] for i in shown] + [pixels[i][:, ::-1] for i in shown]
    small = np.array([image.reshape(12, 4, 12, 4).mean(axis=(1, 3)).ravel() for image in both])
    small -= small.mean(axis=1, keepdims=True)
    small /= np.linalg.norm(small, axis=1, keepdims=True)
    small -= small.mean(axis=0)
    _, values, faces = np.linalg.svd(small, full_matrices=False)
    described = small[:len(shown)] @ faces[:64].T / values[:64]
    described /= np.linalg.norm(described, axis=1, keepdims=True)
    cosines = described @ described.T
    pairs = audit.similar_pairs(FIXTURE).query("not mirrored")
    assert len(pairs) > 5
    position = {label: k for k, label in enumerate(shown)}
    for pair in pairs.itertuples():
        assert pair.similarity == pytest.approx(
            cosines[position[pair.first], position[pair.second]], abs=1e-3)
    # A pair may be listed as mirrored instead, if that is more similar.
    listed = set(zip(*audit.similar_pairs(FIXTURE)[["first", "second"]].to_numpy().T, strict=True))
    for first, second in np.argwhere(np.triu(cosines, 1) >= audit.LISTED + 1e-3):
        assert (shown[first], shown[second]) in listed


def random_index(rng):
    """Many copies, across every border: a frame as `mark_copies` returns it."""
    n = int(rng.integers(300, 800))
    index = pd.DataFrame({
        "split": rng.choice(["train", "test"], n, p=[0.8, 0.2]),
        "emotion": rng.choice(EMOTIONS, n), "group": rng.integers(0, n // 2, n)})
    return index.assign(digest=[f"{g}-{d}" for g, d in zip(index["group"], rng.integers(0, 2, n),
                                                           strict=True)])


@pytest.mark.parametrize("seed", range(40))
def test_no_picture_is_on_two_sides_of_a_split(seed):
    index = random_index(np.random.default_rng(seed))
    split = audit.split_without_leaks(index, parts=5, seed=seed)
    assert (split.groupby("group")["split"].nunique() == 1).all()
    # Nothing but test images with a copy is lost, and nothing is there twice.
    assert split.index.is_unique
    lost = index.drop(split.index)
    assert (lost["split"] == "test").all()
    train = index[index["split"] == "train"]
    assert lost["group"].isin(train["group"]).all()
    assert set(split["split"]) == {"train", "validation", "test"}
    assert split.loc[train.index, "split"].isin(["train", "validation"]).all()
    held_out = (split["split"] == "validation").sum() / len(train)
    assert held_out == pytest.approx(0.2, abs=0.06)
    pd.testing.assert_frame_equal(
        split, audit.split_without_leaks(index, parts=5, seed=seed))


def test_too_few_pictures_for_a_split(marked):
    few = ds.balance(marked, {"train": 5, "test": 5})
    with pytest.raises(ds.DatasetError, match=r"train/\w+ has 5 different .* for 10"):
        audit.split_without_leaks(few)
    assert len(audit.split_without_leaks(few, parts=5)) > 50


def test_a_dataset_of_blank_images_has_no_near_copies(copy):
    blank = (copy / "train" / "sad" / "Training_00001005.jpg").read_bytes()
    for path in copy.rglob("*.jpg"):
        path.write_bytes(blank)
    marked = audit.mark_copies(ds.Dataset(copy))
    assert marked["group"].nunique() == 1
    pictures = audit.count_copies(marked).loc["pictures that are there more than once"]
    assert pictures.tolist() == [1, 1]


def test_the_split_keeps_the_classes_balanced(marked):
    kept = ds.balance(marked, {"train": 30, "test": 12})
    split = audit.split_without_leaks(kept)
    assert pd.crosstab(split["split"], split["emotion"]).loc["validation"].between(2, 4).all()
    assert len(split) == len(kept) - 2


def test_copies_in_train_looks_at_the_rows_it_is_given(marked):
    without = marked[~marked["path"].isin(["train/fear/Training_00002007.jpg"])]
    kinds = audit.copies_in_train(without)
    assert (kinds == "exact").sum() == 0
    assert (kinds == "near").sum() == 1
    assert (audit.copies_in_train(marked[marked["split"] == "train"]) == "").all()


def test_copies_against_a_count_by_hand():
    rng = np.random.default_rng(3)
    index = random_index(rng)
    for by in ("digest", "group"):
        expected = {}
        for value in set(index[by]):
            rows = index[index[by] == value]
            if len(rows) > 1:
                labels = set(rows["emotion"])
                expected[value] = (len(rows), len(set(rows["split"])) > 1, len(labels))
        found = audit.copy_groups(index, by)
        assert {row.Index: (row.images, row.across, row.labels) for row in found.itertuples()} \
            == expected


def test_mean_faces_are_means():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (30, 48, 48, 1), dtype=np.uint8)
    labels = np.arange(30) % 6
    faces = audit.mean_faces(images, labels)
    assert faces.shape == (6, 48, 48, 1)
    np.testing.assert_allclose(faces[2], images[labels == 2].astype(float).mean(axis=0), rtol=1e-6)
