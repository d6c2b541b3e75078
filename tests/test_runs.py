import numpy as np
import pandas as pd
import pytest

from fer_helpers import runs
from fer_helpers.emotions import CourseError


@pytest.fixture
def run():
    rng = np.random.default_rng(0)
    raw = rng.random((20, 6)).astype(np.float32)
    return runs.Run(
        settings={"model": "baseline", "seed": 0, "patience": None, "augmentation": {"zoom": 0.1}},
        history=pd.DataFrame({"accuracy": [0.1, 1 / 3], "val_loss": [2.0, 1e-17]},
                             index=pd.RangeIndex(1, 3, name="epoch")),
        probabilities=raw / raw.sum(axis=1, keepdims=True),
        labels=rng.integers(0, 6, 20),
        ids=np.array([f"test/sad/{i}.jpg" for i in range(20)]),
        about={"dataset": "fixture", "kept_epoch": 2},
    )


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


def test_missing_run(tmp_path):
    with pytest.raises(CourseError, match=r"No run at .*run.npz. Train it first"):
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


def test_a_run_that_hides_a_pickle_is_refused(tmp_path):
    np.savez(tmp_path / "run.npz", history=np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(CourseError, match="not a complete run"):
        runs.load_run(tmp_path / "run.npz")


def test_reference_runs_can_be_read():
    for model in ("baseline", "final", "ablation"):
        for run in runs.reference_runs(model):
            assert run.about["dataset"] == "fer2013"
            assert run.about["fingerprint"] == "01be3c107b086de0", "the subset of seed 0"
            assert len(run.labels) == 6 * 599
            assert np.bincount(run.labels).tolist() == [599] * 6
            kept = run.history.loc[run.about["kept_epoch"]]
            assert run.accuracy == pytest.approx(kept["val_accuracy"], abs=1e-6)


def test_known_copies_agree_with_the_shipped_counts():
    copies = pd.read_csv(runs.REFERENCE / "fer2013_copies.csv", index_col=0, header=[0, 1])
    exact, near = copies.loc["test images with a copy in train", "balanced subset"]
    for run in runs.reference_runs("baseline"):
        found = runs.known_copies(run)
        assert list(found.index) == list(run.ids)
        assert (found["copy_in_train"] == "exact").sum() == exact
        assert (found["copy_in_train"] != "").sum() == near
        assert found["group"].nunique() < len(found), "some test images are copies of each other"
        alone = found[found["group"] < 0]
        assert alone["group"].is_unique and (alone["copy_in_train"] == "").all()
