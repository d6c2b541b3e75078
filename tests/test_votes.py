"""The ten votes of each image, and what notebook 7 counts from them, counted again by hand."""

import csv
import gzip
from collections import Counter
from fractions import Fraction

import nbformat
import numpy as np
import pandas as pd
import pytest

from fer_helpers import dataset as ds
from fer_helpers import identity
from fer_helpers.course import COURSE, EMOTIONS
from fer_helpers.runs import reference_runs

# As FER+ orders them, and as the notebook calls them.
PUBLISHED = ["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt",
             "unknown", "NF"]
NAMES = ["neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", "contempt", "unknown",
         "not a face"]
CELLS = [cell.source for cell in nbformat.read(COURSE / "notebooks" / "07_ten_people.ipynb",
                                               as_version=4).cells if cell.cell_type == "code"]


@pytest.fixture(scope="module")
def votes():
    """Path -> votes by name, read without the helper package and without pandas."""
    with gzip.open(identity.IMAGES, "rt", encoding="utf-8", newline="") as file:
        return {row["path"]: {name: int(row[published])
                              for name, published in zip(NAMES, PUBLISHED, strict=True)}
                for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def notebook():
    """What some of the notebook's cells define, run here in their order."""
    names = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FER_DATA", str(ds.FIXTURE))
        for start in ("import matplotlib", "dataset =", "OTHERS =", "runs =", "top =",
                      "def interval", "crowd =", "said =", "def share", "run =",
                      "def reliability", "def expected", "def grad_cam"):
            exec(cell(start), names)
    return names


def cell(start):
    """The one cell of the notebook that begins so."""
    (source,) = (source for source in CELLS if source.startswith(start))
    return source


def winners(given):
    return [name for name, count in given.items() if count == max(given.values())]


def credit(path, given):
    """1 if the label alone is most frequent, a half or less in a tie, else 0."""
    best = winners(given)
    return Fraction(path.split("/")[1] in best, len(best))


def test_the_votes_add_up_as_published(votes):
    assert len(votes) == 35_887
    sums = Counter(sum(given.values()) for given in votes.values())
    assert sums == {10: 35_886, 9: 1}, "one image has nine votes in the published table, too"
    (short,) = (path for path, given in votes.items() if sum(given.values()) == 9)
    assert short.startswith("train/disgust/")
    assert all(count >= 0 for given in votes.values() for count in given.values())


def test_the_votes_join_to_every_image_of_both_forms(votes):
    table = identity.images()
    assert table["path"].tolist() == list(votes), "row by row of fer2013.csv"
    assert (table["path"].str.split("/").str[2].str.split("_").str[0] == table["usage"]).all()
    # The CSV form knows its rows by their order: whatever they are called, they get these paths.
    rows = [f"{path.rpartition('/')[0]}/{i}" for i, path in enumerate(votes)]
    assert identity.names_by_row(rows) == list(votes)


@pytest.mark.parametrize("model", ["baseline", "ablation", "final"])
def test_all_shipped_runs_have_the_same_test_images(model, votes):
    expected = reference_runs("final")[0].ids.tolist()
    for run in reference_runs(model):
        assert run.ids.tolist() == expected, "the notebook takes means over runs, image by image"
        assert set(run.ids) <= set(votes)
        assert [path.split("/")[1] for path in run.ids] == [EMOTIONS[i] for i in run.labels]


def test_how_often_ten_people_give_the_label(votes, notebook):
    test = {path: votes[path] for path in reference_runs("final")[0].ids}
    for given, found in ((votes, notebook["agreed"]), (test, notebook["agreed"].loc[list(test)])):
        credits = [credit(path, row) for path, row in given.items()]
        expected = {"ties count for the label": sum(x > 0 for x in credits),
                    "a coin decides": float(sum(credits)),
                    "ties count against it": sum(x == 1 for x in credits)}
        assert found.sum().to_dict() == pytest.approx(expected)
    for emotion in EMOTIONS:
        credits = [credit(path, row) for path, row in test.items() if f"/{emotion}/" in path]
        assert len(credits) == 599
        row = notebook["by_class"].loc[emotion]
        assert row["value"] == pytest.approx(float(sum(credits)) / 599)
        assert row["low"] < row["value"] < row["high"]


def test_what_the_crowd_says_instead(votes, notebook):
    counts = Counter()
    for path in reference_runs("final")[0].ids:
        best = winners(votes[path])
        counts[path.split("/")[1], best[0] if len(best) == 1 else "tie"] += 1
    matrix = notebook["matrix"]
    assert {(row, column): matrix.loc[row, column] for row in matrix.index
            for column in matrix.columns if matrix.loc[row, column]} == counts


@pytest.mark.parametrize("model", ["baseline", "ablation", "final"])
def test_with_whom_the_networks_side(votes, notebook, model):
    counts, runs = Counter(), reference_runs(model)
    for run in runs:
        for path, guess in zip(run.ids, run.predictions, strict=True):
            label, best, said = path.split("/")[1], winners(votes[path]), EMOTIONS[guess]
            if len(best) > 1 or best[0] not in EMOTIONS:
                continue
            part = "confirmed" if best[0] == label else "disputed"
            counts[part] += 1
            counts[part, "crowd"] += said == best[0]
            counts[part, "label"] += said == label
    for part in ("confirmed", "disputed"):
        assert notebook[part].sum() * len(runs) == counts[part]
        for target, name in (("said", "crowd"), ("label", "label")):
            found = notebook["share"](model, notebook[target], notebook[part])["value"]
            assert found == pytest.approx(counts[part, name] / counts[part])


def test_reliability_and_calibration_error(notebook):
    run = reference_runs("baseline")[0]
    bins = {}
    for row, label in zip(run.probabilities.tolist(), run.labels, strict=True):
        sure = max(row)
        number = min(int(np.float32(sure) * 10), 9)
        bins.setdefault(number, []).append((sure, row.index(sure) == label))
    table = notebook["reliability"](run, run.labels, notebook["everywhere"])
    assert dict(table["images"]) == {number: len(pairs) for number, pairs in bins.items()}
    gaps = [abs(sum(sure - right for sure, right in pairs)) for pairs in bins.values()]
    found = notebook["expected_calibration_error"](run, run.labels, notebook["everywhere"])
    assert found == pytest.approx(sum(gaps) / len(run.labels), rel=1e-4)


def test_ties_and_missing_votes_by_hand():
    rows = {"a/happy": {"happy": 5, "sad": 5}, "a/sad": {"happy": 4, "sad": 3, "angry": 3},
            "a/fear": {"fear": 3, "sad": 3, "neutral": 3, "unknown": 1},
            "a/angry": {"angry": 4, "sad": 3, "disgust": 2}, "a/neutral": {"not a face": 10}}
    votes = pd.DataFrame.from_dict(rows, orient="index").fillna(0).astype(int)
    pictures = pd.DataFrame({"emotion": votes.index.str[2:]}, index=votes.index)
    names = {"np": np, "pd": pd, "votes": votes, "pictures": pictures}
    exec(cell("top ="), names)
    assert names["agreed"]["ties count for the label"].astype(int).tolist() == [1, 0, 1, 1, 0]
    assert names["agreed"]["a coin decides"].tolist() == pytest.approx([1 / 2, 0, 1 / 3, 1, 0])
    assert names["agreed"]["ties count against it"].astype(int).tolist() == [0, 0, 0, 1, 0]
    names |= {"test": pictures, "ids": votes.index, "EMOTIONS": EMOTIONS}
    exec(cell("crowd ="), names)
    assert names["crowd"].tolist() == ["tie", "happy", "tie", "angry", "not a face"]


def test_grad_cam_explains_the_class_it_is_asked_for(fixture_sets, notebook):
    small = notebook["keras"].saving.load_model(COURSE / "data" / "small.keras", safe_mode=True)
    faces = fixture_sets[1].images[::12].astype("float32") / 255
    found, other = (notebook["grad_cam"](small, faces, np.full(6, number)) for number in (0, 3))
    assert found.shape == (6, 48, 48) and found.min() >= 0
    np.testing.assert_allclose(found.max(axis=(1, 2)), 1, rtol=1e-5)
    assert np.abs(found - other).mean() > 0.05
