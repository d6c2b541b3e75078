"""A dataset is found, indexed, balanced and loaded."""

import itertools
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from notebook_files import code_cells
from PIL import Image

from fer_helpers import dataset as ds
from fer_helpers.course import COURSE, EMOTIONS, REFERENCE
from machinery.files import CourseError

FIXTURE = ds.Dataset(ds.FIXTURE)
ODD = "train/happy/Training_00000003.jpg"  # 64 x 64 in the fixture


# finding

SPELLED = ["{}", "  {} ", "'{}'", '"{}"', "file://{}", "$PLACE", "${{PLACE}}/.", "{}/../copy"]


@pytest.mark.parametrize("spelled", SPELLED)
def test_fer_data_is_used_first(copy, monkeypatch, spelled):
    monkeypatch.setenv("PLACE", str(copy))
    monkeypatch.setenv("FER_DATA", spelled.format(copy))
    data = ds.find_dataset()
    assert (data.root, data.name, data.is_fixture) == (copy, "custom-copy", False)


def test_names_of_places_and_datasets(copy, make_zip):
    assert [path.relative_to(COURSE).as_posix() for path in ds.FER2013] == [
        f"data/{name}" for name in ("fer2013", "fer2013.zip", "archive.zip", "fer2013.csv")]
    assert make_zip().name == "custom-x"
    drawn = ds.Dataset(copy.rename(copy.with_name("fixture")))
    assert not drawn.is_fixture and drawn.name == "custom-fixture"


@pytest.mark.parametrize("name", ["it's $HOME", "a%20b #1", '"quoted"', "données 表情", " x"])
def test_what_is_there_is_taken_as_it_is_spelled(copy, monkeypatch, name):
    monkeypatch.setenv("FER_DATA", str(copy.rename(copy.with_name(name))))
    assert ds.find_dataset().root.name == name
    monkeypatch.setenv("FER_DATA", copy.with_name(name).as_uri())
    assert ds.find_dataset().root.name == name


def test_without_fer_data_the_usual_places_then_the_fixture(monkeypatch, copy):
    monkeypatch.setenv("FER_DATA", " ")
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(copy))  # the user's may hold FER-2013
    monkeypatch.setattr(ds, "KAGGLE", [])
    empty = copy / "empty"
    (empty / ".git").mkdir(parents=True)
    (copy / ".hidden").touch()
    for places, expected in (([copy / "nowhere", empty, copy], copy), ([empty], ds.FIXTURE),
                             ([ds.FIXTURE / "SHA256SUMS", copy], ds.FIXTURE / "SHA256SUMS")):
        monkeypatch.setattr(ds, "FER2013", places)
        assert ds.find_dataset().root == expected
    (copy / "dangling").symlink_to(copy / "nowhere")
    monkeypatch.setattr(ds, "FER2013", [copy / "dangling"])
    with pytest.raises(CourseError, match=r"No dataset at .*nowhere"):
        ds.find_dataset()
    monkeypatch.setattr(ds, "FER2013", [])
    monkeypatch.chdir(copy)
    monkeypatch.setenv("HOME", str(ds.FIXTURE.parent))
    for relative in ("", "data/fixture", "~/fixture"):  # to the course's folder
        monkeypatch.setenv("FER_DATA", relative)
        data = ds.find_dataset()
        assert (data.is_fixture, data.name, data.identity.form) == (True, "fixture", "")


@pytest.mark.parametrize("chosen", ["missing", "~nobody_of_this_name/x", "x" * 300, "loop", "$NO"])
def test_no_dataset(monkeypatch, tmp_path, chosen):
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.setenv("FER_DATA", str(tmp_path / "loop") if chosen == "loop" else chosen)
    with pytest.raises(CourseError, match=r"No dataset at .*(missing|x|loop|NO).*FER_DATA.*README"):
        ds.find_dataset()


def test_kagglehubs_cache_and_kaggles_own_places(monkeypatch, tmp_path):
    """A version counts once kagglehub has marked it as complete; Kaggle's places come last."""
    monkeypatch.delenv("FER_DATA")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(ds, "FER2013", [])
    monkeypatch.setattr(ds, "KAGGLE", [ds.FIXTURE / "train"])
    relative = os.path.relpath(tmp_path / "b", COURSE)  # counts from the course's folder
    for cache, variable in ((tmp_path / ".cache/kagglehub", ""), (tmp_path / "a", f"{tmp_path}/a"),
                            (tmp_path / "b", relative)):
        monkeypatch.setenv("KAGGLEHUB_CACHE", variable)
        version = cache / "datasets/msambare/fer2013/versions/1"
        (version / "train").mkdir(parents=True)
        assert ds.find_dataset().root == ds.FIXTURE / "train"
        (version.parents[1] / "1.complete").touch()
        assert ds.find_dataset().root == version
    monkeypatch.setattr(os, "listdir", None)  # a usual place that cannot be read
    monkeypatch.setenv("FER_DATA", "data/fixture")
    assert ds.find_dataset().is_fixture


# indexing

def test_the_index_lists_every_image_once_and_what_was_planted(fixture_index):
    assert list(fixture_index) == ["split", "emotion", "path", "width", "height", "mode", "digest",
                                   "brightness", "contrast", "flat"]
    assert len(fixture_index) == 292 and fixture_index["path"].is_unique
    counts = ds.count_images(fixture_index)
    assert list(counts.columns) == [*EMOTIONS, "disgust"]
    assert counts.index.name is counts.columns.name is None
    assert counts.loc["train"].tolist() == [38, 34, 32, 30, 36, 31, 8]
    assert counts.loc["test"].tolist() == [15, 13, 12, 12, 14, 13, 4]
    homes = fixture_index["split"] + "/" + fixture_index["emotion"]
    assert homes.unique().tolist() == [f"{split}/{emotion}" for split in ("train", "test")
                                       for emotion in (*EMOTIONS, "disgust")]
    assert all(names.is_monotonic_increasing for _, names in fixture_index["path"].groupby(homes))
    by_path = fixture_index.set_index("path")
    assert tuple(by_path.loc[ODD, ["width", "height"]]) == (64, 64)
    assert by_path.index[by_path["flat"] == 1].tolist() == ["train/sad/Training_00001005.jpg"]
    assert {ds.Dataset(FIXTURE.root): "a key"}[FIXTURE]
    mine = ds.index_images(FIXTURE)
    mine["split"] = "x"
    assert set(ds.index_images(FIXTURE)["split"]) == {"train", "test"}
    for row in fixture_index.iloc[[0, 40, 43, 200]].itertuples():
        image = np.asarray(Image.open(ds.FIXTURE / row.path), dtype=float)
        assert row.brightness == pytest.approx(image.mean())
        assert row.contrast == pytest.approx(image.std())
        assert row.flat == np.unique(image, return_counts=True)[1].max() / image.size


def test_equal_bytes_of_another_size_are_another_image(copy, monkeypatch):
    image = Image.open(copy / "train/sad/Training_00001003.jpg")
    Image.frombytes("L", (24, 96), image.tobytes()).save(copy / "train/sad/flat.png")
    image.save(copy / "train/sad/same.png")
    # What recognises FER-2013 gets paths, sizes and pixels in one order.
    monkeypatch.setattr(ds, "recognise", lambda *columns: (columns[0], columns[1:]))
    data = ds.Dataset(copy)
    index = ds.index_images(data).set_index("path")
    twin, flat, same = (index.loc[f"train/sad/{name}"] for name in (
        "Training_00001003.jpg", "flat.png", "same.png"))
    assert same["digest"] == twin["digest"] != flat["digest"]
    assert (flat["width"], flat["height"]) == (24, 96)
    sizes, pixels = data.identity
    assert pixels[sizes.tolist().index([24, 96])].mean() == flat["brightness"]


def test_files_that_cannot_be_used_are_told_once_and_a_class_may_not_be_without(copy):
    """A class that is only counted may be. Nothing is said of what Pillow thinks of an image."""
    for name, file in (("happy", "a"), ("sad", "b")):  # Pillow warns of so many pixels
        Image.new("1", (9500, 9500)).save(copy / "train" / name / f"{file}.png")
    shutil.rmtree(copy / "test" / "disgust")
    reason = r"train/happy/a\.png \(9500 x 9500 pixels, [^)]*\)\."
    with pytest.warns() as told:
        assert len(ds.index_images(ds.Dataset(copy))) == 288
    assert len(told) == 1 and re.search(
        rf"Left out of .*/copy: 2 files .* The first is {reason} Notebook 1", str(told[0].message))
    shutil.rmtree(copy / "test" / "sad")
    with pytest.raises(CourseError, match=r"copy has no images in test/sad/ that can be used\. The "
                       rf"first of 2 others is {reason} Use a whole dataset: data/README"):
        ds.index_images(ds.Dataset(copy))


def test_a_bar_is_shown_if_reading_takes_long(capsys, monkeypatch):
    assert ds.Dataset(FIXTURE.root).faults.empty and capsys.readouterr().err == ""
    monkeypatch.setattr("tqdm.std.time", itertools.count(0, 0.5).__next__)  # at each look
    assert ds.Dataset(FIXTURE.root).faults.empty
    shown = capsys.readouterr().err.split("\r")[1:]
    assert 100 < len(shown) < 150, "at most once a second"
    assert shown[0].startswith("Reading images:   1%|") and "it/s" not in shown[0]


# counting what is wrong: a function of notebook 1

def test_faults_are_counted_by_split(fixture_index, functions_of):
    count_faults = functions_of("01_data_audit")["count_faults"]
    assert count_faults(fixture_index, FIXTURE.faults).sum(axis=1).tolist() == [0, 1, 0, 1, 0]
    faults = pd.DataFrame({"path": ["train/sad/a.jpg", "test/sad/b.jpg", "test/sad/train/c.jpg"],
                           "fault": ["", "", ""]})
    worse = fixture_index.assign(height=np.where(fixture_index["split"] == "test", 47, 48),
                                 width=48, flat=0.65, mode="RGB")
    assert count_faults(worse, faults)["train"].tolist() == [1, 0, 209, 0, 209]
    assert count_faults(worse, faults)["test"].tolist() == [2, 83, 83, 0, 83]
    train = worse[worse["split"] == "train"]
    table = count_faults(train, faults[:0])
    assert table["test"].tolist() == [0, 0, 0, 0, 0]
    shipped = pd.read_csv(REFERENCE / "fer2013_faults.csv", index_col=0)
    assert list(table.index) == list(shipped.index)


# balancing

@pytest.fixture
def kept(fixture_index):
    return ds.balance(fixture_index, ds.FIXTURE_SIZES)


def test_balance_cuts_every_class_to_the_same_size_by_paths_and_seed_alone(fixture_index, kept):
    assert ds.REPORT_SIZES == {"train": 2999, "test": 599}
    counts = ds.count_images(kept)
    assert list(counts.columns) == list(EMOTIONS), "disgust is dropped"
    assert (counts.loc["train"] == 30).all() and (counts.loc["test"] == 12).all()
    pd.testing.assert_frame_equal(kept, fixture_index.loc[kept.index])
    train = kept[kept["split"] == "train"]
    assert ds.count_images(train).loc["test"].tolist() == [0] * 6
    assert list(ds.count_images(train, ["train"]).index) == ["train"]
    shuffled = ds.balance(fixture_index.sample(frac=1, random_state=9), ds.FIXTURE_SIZES)
    other = ds.balance(fixture_index, ds.FIXTURE_SIZES, seed=1)
    assert set(kept["path"]) == set(shuffled["path"]) != set(other["path"])
    with pytest.raises(CourseError, match=r"train/surprise holds 30 images, fewer than the 31"):
        ds.balance(fixture_index, {"train": 31})


def test_the_fingerprint_stands_for_the_images(kept):
    # Seen first on Linux x86-64, Python 3.11. A change here changes every result of the course.
    assert ds.fingerprint(kept) == "5992024078f74ec8"
    assert ds.fingerprint(kept) == ds.fingerprint(kept.sample(frac=1, random_state=3))
    assert ds.fingerprint(kept) != ds.fingerprint(kept.iloc[1:])
    for column in ("digest", "emotion", "path"):
        changed = kept.copy()
        changed.loc[changed.index[0], column] = "0" * 16
        assert ds.fingerprint(kept) != ds.fingerprint(changed), column


# loading

def test_load_images_agrees_with_pillow(fixture_index):
    """Images of another size are resized in memory."""
    rows = fixture_index[fixture_index["emotion"] != "disgust"].iloc[[200, 0, 50, 100, 150]]
    rows = pd.concat([rows, fixture_index[fixture_index["path"] == ODD]])
    images, labels, ids = ds.load_images(FIXTURE, rows)
    assert (images.shape, images.dtype, labels.dtype) == ((6, 48, 48, 1), np.uint8, np.int64)
    assert ids.dtype.kind == "U"
    for image, label, name, row in zip(images, labels, ids, rows.itertuples(), strict=True):
        expected = Image.open(ds.FIXTURE / row.path).resize((48, 48), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(image[..., 0], np.asarray(expected))
        assert (EMOTIONS[label], name) == (row.emotion, row.path)
    frame = fixture_index.head(2).assign(path=["train/happy/Training_00000000.jpg", "x.jpg"])
    for wrong, said in ((frame, r"has no usable image x.jpg. Index this dataset"),
                        (fixture_index, r"Only images of happy.*Leave the others out")):
        with pytest.raises(CourseError, match=said):
            ds.load_images(FIXTURE, wrong)


@pytest.mark.parametrize("seed", [{}, {"seed": 1}])
def test_load_balanced_is_index_balance_and_load(fixture_index, seed):
    train, test, about, unused = ds.load_balanced(FIXTURE, ds.FIXTURE_SIZES, **seed)
    kept = ds.balance(fixture_index, ds.FIXTURE_SIZES, **seed)
    assert [*train.ids, *test.ids] == kept["path"].tolist()
    rest = fixture_index.query("split == 'test' and emotion != 'disgust'")["path"]
    assert set(unused.ids) == set(rest) - set(test.ids)
    assert about == {"dataset": "fixture", "form": "", "fingerprint": ds.fingerprint(kept)}


# another dataset: the table of names in course.py, and nothing else

@pytest.mark.parametrize("number", [1, 2, 6])
def test_another_dataset_is_a_table(tmp_path, number):
    """Numbers as names, images of 64 x 64 in colour, as in RAF-DB, and an eighth class: drawn."""
    names = ["surprise", "fear", "disgust", "happy", "sad", "angry", "neutral", "contempt"]
    for path in ds.FIXTURE.rglob("*.jpg"):
        split, emotion, name = path.relative_to(ds.FIXTURE).parts
        place = tmp_path / "DATASET" / split / str(names.index(emotion) + 1)
        place.mkdir(parents=True, exist_ok=True)
        Image.open(path).resize((64, 64)).convert("RGB").save(place / name)
    train = tmp_path / "DATASET" / "train"
    shutil.copytree(train / "3", train / "8")
    cells = [cell.source for cell in code_cells(number)]
    while "{here}" not in cells[-1]:  # what is left shows FER-2013 alone
        cells.pop()
    code = f"""if True:
        from IPython.display import display
        from fer_helpers import course
        course.LEFT_OUT += ("contempt",)
        course.ALSO_CALLED = dict(zip({names}, "12345678"))
        for source in {cells}:
            exec(source.replace("2999", "8").replace("599", "4"))
        print(dataset.name, *index[["width", "mode"]].drop_duplicates().to_numpy()[0])
        print(*index.query("split == 'train'")["emotion"].value_counts(sort=False).items())
    """
    environment = {"FER_DATA": str(tmp_path / "DATASET"), "FER_FIGURES": str(tmp_path / "figures")}
    found = subprocess.run([sys.executable, "-Wignore", "-c", code], capture_output=True, text=True,
                           env=os.environ | environment | {"MPLBACKEND": "agg"}, cwd=COURSE)
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[-2:] == [
        "custom-DATASET 64 RGB", "('happy', 38) ('sad', 34) ('fear', 32) ('surprise', 30) "
        "('neutral', 36) ('angry', 31) ('disgust', 8) ('contempt', 8)"]
    assert list((tmp_path / "figures" / "custom-DATASET").glob("*.png"))
