"""The ten votes of each image: of which dataset, how ties count, and as targets of a training.

What notebook 7 counts from them is compared by nbval, its figures by test_figures.py.
"""

import csv
import gzip
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest

from experiments.beyond import learn_from_crowd, votes_of
from fer_helpers import dataset as ds
from fer_helpers import identity
from fer_helpers.course import COURSE, EMOTIONS
from machinery.files import CourseError

# As FER+ orders them, and as the notebook calls them.
PUBLISHED = ["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt",
             "unknown", "NF"]
NAMES = ["neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", "contempt", "unknown",
         "not a face"]


def given(file):
    """Path -> votes by name, read without the helper package and without pandas."""
    return {row["path"]: {name: int(row[published])
                          for name, published in zip(NAMES, PUBLISHED, strict=True)}
            for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def votes():
    with gzip.open(identity.IMAGES, "rt", encoding="utf-8", newline="") as file:
        return given(file)


@pytest.fixture(scope="module")
def drawn():
    with open(ds.FIXTURE / "votes.csv", encoding="utf-8", newline="") as file:
        return given(file)


def test_the_votes_of_a_dataset(votes, drawn, copy, fixture_index):
    fixture = votes_of(ds.Dataset(ds.FIXTURE))
    assert sorted(fixture.index) == sorted(fixture_index["path"]), "votes.csv is no image"
    assert set(fixture.sum(axis=1)) == {10}
    original = votes_of(SimpleNamespace(is_fixture=False, name="fer2013"))
    assert list(fixture) == list(original) == [*EMOTIONS, *NAMES[5:6], *NAMES[7:]]
    for table, expected in ((fixture, drawn), (original, votes)):
        assert list(table.index) == list(expected)
        for path in list(expected)[::97]:
            assert table.loc[path].to_dict() == expected[path]
    with pytest.raises(CourseError, match="comes without votes: only the original FER-2013 and"):
        votes_of(ds.find_dataset())


def test_shares_are_the_votes_for_the_six_classes(drawn):
    rows = ["train/sad/Training_00001005.jpg", "train/neutral/Training_00004009.jpg",
            "train/happy/Training_00000001.jpg"]
    labels = np.array([EMOTIONS.index(path.split("/")[1]) for path in rows])
    examples = ds.Examples(np.zeros((3, 48, 48, 1), np.uint8), labels, np.array(rows))
    data = ds.Balanced(examples, examples, {"dataset": "fixture"})
    crowd = learn_from_crowd(data, votes_of(ds.Dataset(ds.FIXTURE)))
    assert crowd.train.labels[0].tolist() == np.eye(6)[EMOTIONS.index("sad")].tolist(), "no votes"
    for path, shares in zip(rows[1:], crowd.train.labels[1:], strict=True):
        counts = [drawn[path][name] for name in EMOTIONS]
        assert shares.tolist() == pytest.approx([count / sum(counts) for count in counts])
    assert crowd.test is data.test
    assert crowd.about == data.about | {"targets": "the crowd's shares"}
    assert crowd.train.images is data.train.images and crowd.train.ids is data.train.ids
    assert labels.tolist() == data.train.labels.tolist(), "the labels themselves stay"


# Ties and missing votes in the notebooks' own cells, by hand

ROWS = {"a/happy": {"happy": 5, "sad": 5}, "a/sad": {"happy": 4, "sad": 3, "angry": 3},
        "a/fear": {"fear": 3, "sad": 3, "neutral": 3, "unknown": 1},
        "a/angry": {"angry": 4, "sad": 3, "disgust": 2}, "a/neutral": {"not a face": 10}}


def run_cells(notebook, starts, names):
    """Run the cells of a notebook that begin so."""
    (path,) = COURSE.glob(f"notebooks/{notebook}*.ipynb")
    cells = nbformat.read(path, as_version=4).cells
    for start in starts:
        (source,) = (cell.source for cell in cells if cell.source.startswith(start))
        exec(source, names)
    return names


def test_ties_and_missing_votes_by_hand():
    table = pd.DataFrame.from_dict(ROWS, "index").reindex(columns=NAMES).fillna(0).astype(int)
    pictures = pd.DataFrame({"emotion": table.index.str[2:]}, index=table.index)
    names = run_cells("07", ["top =", "crowd =", "def scores"], {
        "np": np, "pd": pd, "votes": table, "pictures": pictures, "test": pictures,
        "ids": table.index, "EMOTIONS": EMOTIONS})
    assert names["agreed"]["ties count for the label"].astype(int).tolist() == [1, 0, 1, 1, 0]
    assert names["agreed"]["a coin decides"].tolist() == pytest.approx([1 / 2, 0, 1 / 3, 1, 0])
    assert names["agreed"]["ties count against it"].astype(int).tolist() == [0, 0, 0, 1, 0]
    assert names["crowd"].tolist() == ["tie", "happy", "tie", "angry", "not a face"]

    labels = np.array([EMOTIONS.index(path[2:]) for path in table.index])
    answers = np.array([EMOTIONS.index(name) for name in ("sad", "happy", "sad", "sad", "happy")])
    run = SimpleNamespace(ids=table.index, labels=labels, predictions=answers,
                          probabilities=np.full((5, 6), 0.1) + 0.4 * np.eye(6)[answers])
    found = names["scores"](run, table)
    assert list(found.index) == list(ROWS)[:4], "nobody gave the last a class"
    assert found["right by the label"].tolist() == [0, 0, 0, 0]
    assert found["right by the crowd"].tolist() == pytest.approx([1 / 2, 1, 1 / 3, 0])
    half, tenth = -np.log([0.5, 0.1])  # where an answer is sure, and elsewhere
    assert found["cross-entropy, label"].tolist() == pytest.approx([tenth] * 4)
    mine = np.array([5 / 10, 4 / 10, 3 / 9, 3 / 7])  # of the votes for one of the six
    assert found["cross-entropy, crowd"].tolist() == pytest.approx(
        mine * half + (1 - mine) * tenth)

    eight = run_cells("08", ["ten =", "def by_crowd"], {
        "np": np, "EMOTIONS": EMOTIONS, "VOTES": dict(zip(NAMES, NAMES, strict=True)),
        "images": lambda: table.rename_axis("path").reset_index(), "final": run,
        "copies": SimpleNamespace(known_copies=lambda ids: pd.DataFrame({"copy_in_train": ids}))})
    assert eight["by_crowd"](run) == pytest.approx(found["right by the crowd"].mean())
