"""The ten votes of each image, and what notebook 7 counts from them, counted again by hand."""

import csv
import gzip
import math
import runpy
from collections import Counter
from fractions import Fraction
from random import Random
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from notebook_files import code_cells
from scipy import stats

from experiments.beyond import learn_from_crowd, votes_of
from fer_helpers import dataset as ds
from fer_helpers import identity
from fer_helpers.course import COURSE, EMOTIONS
from fer_helpers.runs import reference_runs
from machinery.files import CourseError

# As FER+ orders them, and as the notebook calls them.
PUBLISHED = ["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt",
             "unknown", "NF"]
NAMES = ["neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", "contempt", "unknown",
         "not a face"]


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
        for start in ("import matplotlib", "dataset =", "pictures =", "runs =", "top =",
                      "def interval", "everywhere =", "crowd =", "said =", "def leaning",
                      "def over_seeds", "def share", "def reliability", "def scores",
                      "from_labels"):
            exec(cell(start), names)
    return names


def cell(start, number=7):
    """The one cell of the notebook that begins so."""
    (source,) = (one.source for one in code_cells(number) if one.source.startswith(start))
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


def test_a_row_of_the_table_is_of_the_split_that_its_path_names():
    table = identity.images()
    assert (table["path"].str.split("/").str[2].str.split("_").str[0] == table["usage"]).all()


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


def test_how_far_a_network_leans_to_the_crowd(notebook):
    counts = Counter()
    run = reference_runs("final")[1]
    for said, label, guess, clear in zip(notebook["said"], run.labels, run.predictions,
                                         notebook["clear"], strict=True):
        counts["clear"] += clear
        counts["ahead"] += clear * (int(guess == said) - int(guess == label))
    assert notebook["leaning"](run) == pytest.approx(counts["ahead"] / counts["clear"])
    values = [notebook["leaning"](run) for run in reference_runs("final")]
    spread = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    assert notebook["over_seeds"](reference_runs("final")).tolist() == pytest.approx(
        [np.mean(values), np.mean(values) - spread, np.mean(values) + spread])


def test_reliability(notebook):
    run = reference_runs("baseline")[0]
    bins = {}
    for row, label in zip(run.probabilities.tolist(), run.labels, strict=True):
        sure = max(row)
        number = min(int(np.float32(sure) * 10), 9)
        bins.setdefault(number, []).append((sure, row.index(sure) == label))
    table = notebook["reliability"](run, run.labels, notebook["everywhere"])
    assert dict(table["images"]) == {number: len(pairs) for number, pairs in bins.items()}
    for number, pairs in bins.items():
        expected = np.mean(pairs, axis=0)
        assert table.loc[number, ["confidence", "right"]].tolist() == pytest.approx(
            expected.tolist(), rel=1e-4)


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


# Drawn voters

@pytest.fixture(scope="module")
def drawn():
    """Path -> votes by name, and the chance of the most likely answer, of the drawn faces."""
    with open(ds.FIXTURE / "votes.csv", encoding="utf-8", newline="") as file:
        return {row["path"]: ({name: int(row[published])
                               for name, published in zip(NAMES, PUBLISHED, strict=True)},
                              float(row["most_likely"])) for row in csv.DictReader(file)}


def test_every_drawn_face_has_ten_voters_and_the_votes_are_no_image(drawn, fixture_index):
    assert sorted(drawn) == sorted(fixture_index["path"])
    assert ds.Dataset(ds.FIXTURE).faults.empty
    assert {sum(given.values()) for given, _ in drawn.values()} == {10}
    blank, chance = drawn["train/sad/Training_00001005.jpg"]
    assert (blank["not a face"], chance) == (10, 1)


def test_drawn_voters_answer_as_often_as_the_script_says():
    script = runpy.run_path(str(COURSE / "experiments" / "draw_fixture.py"))
    shown = {f"{emotion}{i}": (emotion, 0.5) for emotion in script["LOOK_ALIKE"]
             for i in range(1000)}
    table = pd.DataFrame([line.split(",") for line in script["draw_votes"](shown, Random(0))[1:]])
    counts = table.loc[:, 1:10].astype(int).set_axis(list(script["ANSWERS"]), axis=1)
    for emotion in script["LOOK_ALIKE"]:
        expected = pd.Series(script["chances"](emotion, 0.5))
        rows = table[0].str.startswith(emotion)
        assert expected.sum() == pytest.approx(1)
        assert (counts[rows].mean() / 10 - expected).abs().max() < 0.015, emotion
        assert set(table.loc[rows, 11]) == {f"{expected.max():.4f}"}
    assert script["chances"]("sad", 0.5) == pytest.approx(
        dict.fromkeys(script["ANSWERS"], 0) | {"sad": 0.6, "neutral": 0.24, "angry": 0.16})


def test_the_votes_of_a_dataset(votes, drawn, copy):
    fixture = votes_of(ds.Dataset(ds.FIXTURE))
    original = votes_of(SimpleNamespace(is_fixture=False, name="fer2013"))
    assert list(fixture) == list(original) == [*EMOTIONS, *NAMES[5:6], *NAMES[7:]]
    for table, expected in ((fixture, {path: given for path, (given, _) in drawn.items()}),
                            (original, votes)):
        assert list(table.index) == list(expected)
        for path in list(expected)[::97]:
            assert table.loc[path].to_dict() == expected[path]
    with pytest.raises(CourseError, match="comes without votes: only the original FER-2013 and"):
        votes_of(ds.find_dataset())


# Learning from shares

def test_shares_are_the_votes_for_the_six_classes(drawn):
    rows = ["train/sad/Training_00001005.jpg", "train/neutral/Training_00004009.jpg",
            "train/happy/Training_00000001.jpg"]
    labels = np.array([EMOTIONS.index(path.split("/")[1]) for path in rows])
    examples = ds.Examples(np.zeros((3, 48, 48, 1), np.uint8), labels, np.array(rows))
    data = ds.Balanced(examples, examples, {"dataset": "fixture"})
    crowd = learn_from_crowd(data, votes_of(ds.Dataset(ds.FIXTURE)))
    assert crowd.train.labels[0].tolist() == np.eye(6)[EMOTIONS.index("sad")].tolist(), "no votes"
    for path, shares in zip(rows[1:], crowd.train.labels[1:], strict=True):
        given = [drawn[path][0][name] for name in EMOTIONS]
        assert shares.tolist() == pytest.approx([count / sum(given) for count in given])
    assert crowd.test is data.test
    assert crowd.about == data.about | {"targets": "the crowd's shares"}
    assert crowd.train.images is data.train.images and crowd.train.ids is data.train.ids
    assert labels.tolist() == data.train.labels.tolist(), "the labels themselves stay"


def recount(run, votes):
    """The notebook's four numbers of a run, image by image."""
    rows = {}
    for path, row, answer, label in zip(run.ids, run.probabilities.tolist(), run.predictions,
                                        run.labels, strict=True):
        given = [votes[path][name] for name in EMOTIONS]
        if sum(given):
            logs = [math.log(max(p, 1e-7)) for p in row]
            rows[path] = (
                answer == label, (given[answer] == max(given)) / given.count(max(given)),
                -logs[label],
                -sum(c * x for c, x in zip(given, logs, strict=True)) / sum(given))
    return pd.DataFrame.from_dict(rows, orient="index", dtype=float)


def test_both_arms_are_scored_by_label_and_by_crowd(votes, notebook):
    arms = [reference_runs(model)[:2] for model in ("baseline", "baseline_crowd")]
    counted = [[recount(run, votes) for run in arm] for arm in arms]
    found = notebook["scores"](arms[1][0], notebook["votes"])
    assert list(found.index) == list(counted[1][0].index)
    np.testing.assert_allclose(found.to_numpy(), counted[1][0].to_numpy(), rtol=1e-4, atol=1e-6)
    for i, name in enumerate(found):
        first, second = ([table[i].mean() for table in arm] for arm in counted)
        ends = stats.ttest_ind(second, first, equal_var=False).confidence_interval()
        assert notebook["compare"](*arms, name).tolist() == pytest.approx(
            [np.mean(first), np.mean(second), np.mean(second) - np.mean(first), *ends], rel=1e-4)
    part = arms[0][0].ids[::7]
    assert notebook["compare"](*arms, "right by the label", part)[0] == pytest.approx(
        np.mean([table.loc[table.index.isin(part), 0].mean() for table in counted[0]]))


def test_notebook_8_asks_the_crowd_as_notebook_7_does(votes):
    names = {"final": reference_runs("final")[0], "EMOTIONS": EMOTIONS}
    for start in ("import itertools", "ten = ", "def by_crowd"):
        exec(cell(start, 8), names)
    for run in reference_runs("ablation")[:2]:
        expected = recount(run, votes)
        assert names["by_crowd"](run) == pytest.approx(expected[1].mean())
        assert names["measures"]["right by the label"](run) == run.accuracy
        assert names["measures"]["last epoch"](run) == run.history["val_accuracy"][20]
