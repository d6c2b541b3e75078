import dataclasses

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, recall_score
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from experiments.plan import GRID
from fer_helpers import dataset as ds
from fer_helpers import runs
from fer_helpers.copies import known_copies
from fer_helpers.course import EMOTIONS
from fer_helpers.identity import images
from machinery.files import CourseError

FINGERPRINT = "782b5f559f86d40c"  # of the balanced subset of the original, Kaggle's files


@pytest.fixture
def run(made_up_run):
    return made_up_run("baseline", 0, np.arange(20) % 3 == 0)


def test_saves_and_loads_whole(run, tmp_path):
    runs.save_run(run, tmp_path / "new" / "run.npz")
    loaded = runs.load_run(tmp_path / "new" / "run.npz")
    assert loaded.settings == run.settings
    assert loaded.about == run.about
    pd.testing.assert_frame_equal(loaded.history, run.history, check_exact=True)
    for name in ("probabilities", "labels", "ids"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(run, name))
    assert loaded.probabilities.dtype == np.float32
    assert loaded.accuracy == run.accuracy == (run.predictions == run.labels).mean()
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["run.npz"], "nothing is left over"


def test_unused_images_are_kept_and_older_files_have_none(run, tmp_path):
    unused = runs.Answers(run.probabilities[:7], run.labels[:7], run.ids[:7])
    runs.save_run(dataclasses.replace(run, unused=unused), tmp_path / "new.npz")
    loaded = runs.load_run(tmp_path / "new.npz").unused
    for name in runs.ARRAYS:
        np.testing.assert_array_equal(getattr(loaded, name), getattr(unused, name))
    assert loaded.accuracy == (unused.predictions == unused.labels).mean()
    runs.save_run(run, tmp_path / "old.npz")
    assert runs.load_run(tmp_path / "old.npz").unused is None


@pytest.mark.parametrize(("changes", "message"), [
    ({"ids": 19}, "19 ids for 20 labels"), ({"labels": 19}, r"shape \(20, 6\)"),
    ({"unused": True}, "7 ids for 20 labels")])
def test_parts_of_another_length_are_refused(run, tmp_path, changes, message):
    cut = {name: getattr(run, name)[:count] for name, count in changes.items() if name != "unused"}
    if "unused" in changes:
        cut = {"unused": runs.Answers(run.probabilities, run.labels, run.ids[:7])}
    runs.save_run(dataclasses.replace(run, **cut), tmp_path / "torn.npz")
    with pytest.raises(CourseError, match=rf"torn.npz is not a complete run .*{message}"):
        runs.load_run(tmp_path / "torn.npz")


def test_missing_run(tmp_path):
    with pytest.raises(CourseError, match=f"No run at {tmp_path / 'run.npz'}. Train it first"):
        runs.load_run(tmp_path / "run.npz")


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "other"])
def test_damaged_run(run, tmp_path, damage):
    path = tmp_path / "run.npz"
    runs.save_run(run, path)
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[:len(whole) // 2], "text": b"hello", "empty": b"",
                      "other": whole}[damage])
    if damage == "other":
        np.savez(path, something=np.arange(3))
    with pytest.raises(CourseError, match=r"run.npz is not a complete run.*train it again"):
        runs.load_run(path)


def test_whatever_byte_is_changed_a_run_is_read_or_refused(run, tmp_path):
    runs.save_run(run, path := tmp_path / "run.npz")
    whole, refused = path.read_bytes(), 0
    for place in range(0, len(whole), 5):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1:])
        try:
            runs.load_run(path)
        except CourseError:
            refused += 1
    assert refused > len(whole) / 10


def test_a_run_that_hides_a_program_is_refused(tmp_path, capsys, trap):
    np.savez(tmp_path / "run.npz", history=trap, allow_pickle=True)
    with pytest.raises(CourseError, match="not a complete run"):
        runs.load_run(tmp_path / "run.npz")
    assert capsys.readouterr().out == ""


def test_reference_runs_can_be_read():
    """Every shipped run is of the balanced subset of seed 0, and its parts fit together."""
    kept = ds.balance(images(), ds.REPORT_SIZES)
    labels, test = zip(*sorted((EMOTIONS.index(row.emotion), row.path) for row in
                               kept[kept["split"] == "test"].itertuples()), strict=True)
    unused = {*images().query("split == 'test' and emotion != 'disgust'")["path"]} - {*test}
    on_gpu = ("final", "ablation", "jax/baseline_0.0003_mirror_0.25")
    on_cpu = ("baseline", "baseline_crowd", "cpu/ablation", *(f"grid/{cell}" for cell in GRID),
              *(f"compact_{epochs}" for epochs in (10, 11, 22, 88)))
    for model in on_gpu + on_cpu:
        found = runs.reference_runs(model)
        assert [run.settings["seed"] for run in found] == sorted(
            {run.settings["seed"] for run in found}), "at least one, each seed once"
        assert found
        for run in found:
            assert run.settings["model"] == model.split("/")[-1].split("_")[0]
            assert (run.about["dataset"], run.about["fingerprint"]) == ("fer2013", FINGERPRINT)
            assert (run.about["device"], run.about["backend"]) == (
                ("gpu", "jax") if model in on_gpu else ("cpu", "tensorflow"))
            assert (*run.ids,) == test, "in one order: notebooks take means over runs"
            assert (*run.labels,) == labels
            assert run.unused is None or set(run.unused.ids) == unused
            for place in run.about["machines"]:  # changed since the commit: data/README.md says it
                assert len(place["commit"].removesuffix("-dirty")) == 40
                assert place["commit"].endswith("-dirty") == (model in (
                    "compact_10", "compact_11", "compact_88"))
            if "both_ways" in run.settings:  # its answers are means; each epoch's are of one view
                continue
            row = run.history.loc[run.about["kept_epoch"]]
            assert run.accuracy == pytest.approx(row["val_accuracy"], abs=1e-6)
            given = run.probabilities.astype(float)
            given /= given.sum(axis=1, keepdims=True)
            if run.about["backend"] == "jax":  # there, Keras takes 1e-7 for anything smaller
                given = given.clip(1e-7)
                given /= given.sum(axis=1, keepdims=True)
            # not log_loss: it takes 2e-16 for anything smaller, and some runs are surer than that
            of_the_true = given[np.arange(len(given)), run.labels]
            assert run.cross_entropy == pytest.approx(-np.log(of_the_true).mean(), rel=1e-6)
            assert run.about["onednn"] == (run.about["backend"] == "tensorflow")
            assert 0.16 < run.about["train_accuracy"] < 1  # some settings end at guessing


# runs compared

def made_of(made_up_run, table, seed, right, unused_right=None):
    """A run on FER-2013's own test images, right on some of them; answers to unused ones, too."""
    labels = table["emotion"].map(EMOTIONS.index).to_numpy()
    run = made_up_run("baseline", seed, right, ids=table["path"].to_numpy(str))
    wrong = np.eye(6, dtype=np.float32)[(labels + 1) % 6]
    answers = np.where(right[:, None], np.eye(6, dtype=np.float32)[labels], wrong)
    return dataclasses.replace(run, labels=labels, probabilities=answers,
                               about=run.about | {"dataset": "fer2013"})


def test_three_accuracies_against_scikit_learn(made_up_run):
    """A run that is right on *happy* and on copies, and on half of *sad*."""
    known = images()[lambda table: (table["split"] == "test") & (table["emotion"] != "disgust")]
    drawn = ds.balance(images(), ds.REPORT_SIZES).query("split == 'test'")
    answers = []
    for table in (drawn, known.drop(drawn.index)):
        copy = (known_copies(table["path"])["copy_in_train"] != "").to_numpy()
        half = (np.arange(len(table)) % 2 == 0) & (table["emotion"] == "sad")
        right = copy | half | (table["emotion"] == "happy")
        answers.append((made_of(made_up_run, table, 3, right.to_numpy()), copy))
    (run, copy), (other, other_copy) = answers
    unused = runs.Answers(other.probabilities, other.labels, other.ids)
    row = runs.accuracies([dataclasses.replace(run, unused=unused)]).loc[3]
    assert row["test images"] == accuracy_score(run.labels, run.predictions)
    assert row["without a copy"] == accuracy_score(run.labels[~copy], run.predictions[~copy])
    assert row["unused"] == pytest.approx(recall_score(
        other.labels[~other_copy], other.predictions[~other_copy], average="macro"))
    assert 1 / 6 < row["unused"] < 2 / 6 < row["test images"], "one class and a half, and copies"
    assert np.isnan(runs.accuracies([run]).loc[3, "unused"]), "an older file"
    for given, last in ((unused, [f"{row['unused']:.2%}"]), (None, [""])):
        table = runs.closing_table("baseline", dataclasses.replace(run, unused=given))
        assert table["run made here"].iloc[4:7].tolist() == [
            *(f"{value:.2%}" for value in row[:2]), *last]


def test_closing_table(monkeypatch, made_up_run):
    shipped = [made_up_run("final", 0, [1, 0, 0, 0], epochs=20),
               made_up_run("final", 1, [1, 1, 1, 0], epochs=17),
               made_up_run("final", 2, [1, 1, 1, 1], epochs=18)]
    monkeypatch.setattr(runs, "reference_runs", lambda model: shipped)
    here = made_up_run("final", 0, [1, 1, 0, 0], sure=0.5)
    table = runs.closing_table("final", here)
    assert list(table.columns) == ["report", "shipped runs", "drawn faces"]
    assert table.loc["runs"].tolist() == ["1", "3", "1"]
    assert table.loc["test images"].tolist() == ["3,594", "4", "4"]
    assert table.loc["epochs run"].tolist() == ["20", "17 to 20", "2"]
    assert table.loc["test accuracy"].tolist() == [
        "55.34%", "66.67% (25.00% to 100.00%)", "50.00%"]
    assert runs.closing_table("ablation", here).loc["epochs run", "report"] == "not said"
    assert table.loc["... without a copy in train"].tolist() == ["", "", ""], "FER-2013 only"
    expected = -(np.log(0.5) + np.log(0.1)) / 2
    assert table.loc["test cross-entropy"].tolist()[::2] == ["", f"{expected:.3f}"]


@pytest.mark.filterwarnings("error::RuntimeWarning")  # one run alone is nothing to warn of
def test_design_difference_is_welchs(made_up_run):
    def design(*counts):
        return [made_up_run("x", seed, np.arange(600) < right)
                for seed, right in enumerate(counts)]

    one, two = design(360, 330, 351), design(300, 294)
    row = runs.design_difference(one, two)
    accuracies = [[run.accuracy for run in design] for design in (one, two)]
    expected = CompareMeans(*map(DescrStatsW, accuracies)).tconfint_diff(usevar="unequal")
    assert row.tolist() == pytest.approx([np.mean(accuracies[0]) - np.mean(accuracies[1]),
                                          *expected])
    for first, second in ((one, two[:1]), (one[:1], two)):
        assert np.isnan(runs.design_difference(first, second)[["low", "high"]]).all(), "no spread"
    double = runs.design_difference(one, two, lambda run: 2 * run.accuracy)
    assert double.tolist() == pytest.approx(2 * row), "any other number of a run"


@pytest.mark.parametrize("what", ["fingerprint", "dataset"])
def test_runs_of_different_images_are_not_compared(made_up_run, what):
    one, other = (made_up_run("x", 0, np.ones(6)) for _ in range(2))
    runs.design_difference([one, one], [one, other])
    other.about[what] = "another"
    with pytest.raises(CourseError, match="of different images"):
        runs.design_difference([one, one], [one, other])
