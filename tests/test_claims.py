"""Each verdict on the report is computed: what is asserted here changes with the numbers."""

import copy
import re

import numpy as np
import pandas as pd
import pytest

from fer_helpers import claims, report
from fer_helpers.emotions import COURSE, EMOTIONS
from fer_helpers.runs import Run, reference_runs

VERDICTS = {
    "holds": {
        "train_images", "per_class", "sizes", "steps", "evaluation_steps", "possible_accuracies",
        "best_epoch", "no_early_stop", "epoch_time", "baseline_megabytes", "first_loss",
        "thirteen_of_twenty", "more_than_half", "final_beats_baseline", "weighted_mean",
        "baseline_accuracy", "baseline_easy", "evaluation_time", "final_accuracy",
        "ablation_accuracy"},
    "misprint": {"baseline_layers", "baseline_total", "final_layers", "l2_everywhere",
                 "total_time"},
    "cannot be right": {"test_images", "evaluated_accuracy"},
    "not settled": {"two_accuracies", "enough_epochs", "more_filters_beat_fewer",
                    "final_precision", "final_easy", "confused_pairs", "smoother_curves",
                    "near_overfitting"},
}
OF_FINAL = {"final_accuracy", "final_precision", "final_easy", "confused_pairs", "smoother_curves"}


@pytest.fixture(scope="module")
def table():
    return claims.claims()


def test_every_verdict(table):
    for verdict, ids in VERDICTS.items():
        assert set(table.loc[sorted(ids), "verdict"]) == {verdict}
    assert set(table.index) == set().union(*VERDICTS.values())


def test_the_readme_counts_the_verdicts(table):
    n = table["verdict"].value_counts()
    text = " ".join((COURSE / "README.md").read_text().split())
    counted = (f"Of {len(table)} claims in the report, {n['holds']} hold, {n['misprint']} are "
               f"misprints and {n['cannot be right']} cannot be right; {n['not settled']} are not "
               "settled")
    assert counted in text


def test_every_claim_has_a_check_and_every_check_a_claim(table):
    assert table.index.is_unique
    assert set(table.index) == set(claims.CHECKS)
    assert (table != "").all(axis=None)
    assert set(table["verdict"]) <= {
        "holds", "misprint", "cannot be right", "not reproduced", "not settled"}


@pytest.fixture
def say(monkeypatch):
    """Change a number of the report."""
    changed = copy.deepcopy(report.printed())

    def change(value, *place):
        *way, last = place
        target = changed
        for name in way:
            target = target[name]
        assert target[last] != value
        target[last] = value
        for module in (claims, report):
            monkeypatch.setattr(module, "printed", lambda: changed)
    return change


@pytest.mark.parametrize(("claim", "value", "place", "verdict"), [
    ("train_images", 28_708, ("original", "train"), "cannot be right"),
    ("test_images", 7_178, ("original", "test"), "holds"),
    ("per_class", 832, ("counts", "test"), "cannot be right"),
    ("steps", 282, ("training", "steps_per_epoch"), "cannot be right"),
    ("evaluation_steps", 56, ("training", "evaluation_steps"), "cannot be right"),
    ("possible_accuracies", 0.5533, ("accuracy", "final"), "cannot be right"),
    ("evaluated_accuracy", 0.4666, ("evaluation", "accuracy"), "holds"),
    ("evaluation_time", 0.60, ("evaluation", "seconds_per_step"), "cannot be right"),
    ("two_accuracies", 0.5551, ("accuracy", "final"), "cannot be right"),
    ("best_epoch", 19, ("log", "best_epoch"), "cannot be right"),
    ("no_early_stop", 2, ("training", "patience"), "cannot be right"),
    ("enough_epochs", 2.0, ("log", "rows", 19, 3), "holds"),
    ("epoch_time", 12, ("training", "minutes_per_epoch"), "cannot be right"),
    ("total_time", 4, ("training", "hours"), "holds"),
    ("baseline_total", 4_758_342, ("layers", "baseline", "total"), "misprint"),
    ("baseline_megabytes", 18.16, ("layers", "baseline", "megabytes"), "misprint"),
    ("first_loss", 1.8, ("log", "rows", 0, 3), "cannot be right"),
    ("near_overfitting", 0.62, ("log", "rows", 17, 2), "holds"),
    ("thirteen_of_twenty", 18, ("predictions", "correct"), "cannot be right"),
    ("more_than_half", 0.5100, ("accuracy", "final"), "not settled"),
    ("final_beats_baseline", 0.5350, ("accuracy", "baseline"), "not settled"),
    ("baseline_accuracy", 0.4900, ("accuracy", "baseline"), "not reproduced"),
])
def test_another_number_gives_another_verdict(say, claim, value, place, verdict):
    say(value, *place)
    entry = next(c for c in report.printed()["claims"] if c["id"] == claim)
    _, passed = claims.CHECKS[claim]()
    assert entry["verdicts"][0 if passed else 1] == verdict


def made_up(model, right, confused_as, seed, noise=0.001):
    """A run in which each class is right so often, and else taken for one other class."""
    labels = np.repeat(np.arange(6), 100)
    rng = np.random.default_rng(seed)
    shares = np.array([right[name] for name in EMOTIONS])[labels]
    others = np.array([EMOTIONS.index(confused_as[name]) for name in EMOTIONS])[labels]
    predictions = np.where(np.arange(600) % 100 < 100 * shares, labels, others)
    accuracies = 0.4 + rng.normal(0, noise, 20)
    return Run(
        settings={"model": model, "seed": seed}, labels=labels, ids=labels.astype(str), about={},
        history=pd.DataFrame({"val_accuracy": accuracies}),
        probabilities=np.eye(6, dtype=np.float32)[predictions])


def test_claims_on_the_final_model_look_at_its_runs(monkeypatch):
    right = {"happy": 0.9, "surprise": 0.85, "neutral": 0.7, "fear": 0.4, "angry": 0.5, "sad": 0.45}
    as_said = {"happy": "surprise", "surprise": "happy", "neutral": "sad", "fear": "sad",
               "angry": "sad", "sad": "fear"}
    baseline = reference_runs("baseline")

    def runs(model):
        return final if model == "final" else baseline if model == "baseline" else []

    monkeypatch.setattr(claims, "reference_runs", runs)
    def found():
        return {name: claims.CHECKS[name]() for name in OF_FINAL}

    final = [made_up("final", right, as_said, seed) for seed in range(2)]
    texts, passed = zip(*found().values(), strict=True)
    assert dict(zip(OF_FINAL, passed, strict=True)) == dict.fromkeys(OF_FINAL, True) | {
        "final_accuracy": False}
    texts = dict(zip(OF_FINAL, texts, strict=True))
    assert re.fullmatch(r"86% \(7\d% to 9\d%\) and 89% \(8\d% to 9\d%\)", texts["final_precision"])
    assert texts["confused_pairs"].startswith("sad/fear 230, sad/angry 100, sad/neutral 60, ")

    wrong = {**as_said, "fear": "surprise", "angry": "neutral"}
    final = [made_up("final", {**right, "happy": 0.1}, wrong, 0, noise=0.1)]
    assert {passed for _, passed in found().values()} == {False}

    # A little below is no contradiction: it can be chance.
    nearly = {**right, "happy": 0.65, "neutral": 0.65, "angry": 0.68}
    final = [made_up("final", nearly, as_said, 0, noise=0.015)]
    passed = {name: passed for name, (_, passed) in found().items()}
    assert not passed.pop("final_accuracy")
    assert set(passed.values()) == {None}, passed


@pytest.mark.parametrize(("rows", "passed"), [
    ({}, None), ({"seed 0, all images": [0.03, 0.02, 0.04]}, None),
    ({"seed 0, all images": [0.03, 0.02, 0.04], "means of 3 seeds": [0.03, 0.01, 0.05]}, True),
    ({"seed 0, all images": [0.03, 0.02, 0.04], "means of 3 seeds": [0.03, -0.01, 0.07]}, False)])
def test_two_designs_are_ranked_by_several_seeds_only(monkeypatch, rows, passed):
    table = pd.DataFrame.from_dict({"report": [0.0225, -0.0005, 0.0455], **rows}, orient="index",
                                   columns=["difference", "low", "high"])
    monkeypatch.setattr(claims, "differences", lambda *models: {"another model": table})
    assert claims.CHECKS["more_filters_beat_fewer"]()[1] is passed


def test_without_runs_the_claims_on_them_stay_open(monkeypatch):
    monkeypatch.setattr(claims, "reference_runs", lambda model: [])
    for name in OF_FINAL | {"ablation_accuracy"}:
        assert claims.CHECKS[name]() == ("no full run yet", None)
