"""The report's claims, each with a check that computes its verdict.

What the report says, and why it is checked so, stands in ``data/report.toml``. A check returns
what was found, and whether the claim passes: True, False, or None if no run is there to ask or our
runs contradict it by no more than chance.
"""

import math

import numpy as np
import pandas as pd
from scipy import stats

from fer_helpers import models
from fer_helpers.emotions import EMOTIONS
from fer_helpers.evaluation import (
    class_intervals,
    classification_report,
    confusion_matrix,
    most_confused,
)
from fer_helpers.report import differences, layer_comparison, printed, printed_log
from fer_helpers.runs import REFERENCE, known_copies, reference_runs

CHECKS = {}


def claims() -> pd.DataFrame:
    """Check every claim.

    Returns
    -------
    DataFrame of text
        Indexed by the claim's id, in the order of ``report.toml``: ``where`` (section or figure),
        ``claim``, ``check``, ``found``, ``verdict`` (*holds*, *misprint*, *cannot be right*, *not
        reproduced*, *not settled*) and ``why``.
    """
    rows = {}
    for claim in printed()["claims"]:
        found, passed = CHECKS[claim["id"]]()
        verdict = "not settled" if passed is None else claim["verdicts"][0 if passed else 1]
        rows[claim["id"]] = {"where": claim["where"], "claim": claim["says"],
                             "check": claim["how"], "found": found, "verdict": verdict,
                             "why": claim["why"]}
    return pd.DataFrame.from_dict(rows, orient="index")


def _check(function):
    """Enter a check under the id of its claim."""
    CHECKS[function.__name__] = function
    return function


def _images(split: str) -> int:
    """The balanced set of the report: 17,994 and 3,594."""
    return len(EMOTIONS) * printed()["counts"][split]


def _counts() -> pd.DataFrame:
    return pd.read_csv(REFERENCE / "fer2013_counts.csv", index_col=0)


# Data

@_check
def train_images():
    found = int(_counts().loc["train"].sum())
    return f"{found:,}", found == printed()["original"]["train"]


@_check
def test_images():
    needed, said = _images("test"), printed()["original"]["test"]
    found = int(_counts().loc["test"].sum())
    return f"{found:,}; 6 x 599 = {needed:,}", said == found and needed <= said


@_check
def per_class():
    smallest = _counts()[list(EMOTIONS)].min(axis=1)
    return (f"smallest: {smallest['train']:,} and {smallest['test']:,}",
            all(printed()["counts"][split] <= smallest[split] for split in smallest.index))


@_check
def sizes():
    faults = pd.read_csv(REFERENCE / "fer2013_faults.csv", index_col=0)
    odd = int(faults.loc[["cannot be read", "not 48 x 48", "not 8-bit grey"]].to_numpy().sum())
    return f"{odd} others", odd == 0


# Arithmetic

@_check
def steps():
    training = printed()["training"]
    found = _images("train") // training["batch_size"]
    return str(found), found == training["steps_per_epoch"]


@_check
def evaluation_steps():
    training = printed()["training"]
    found = math.ceil(_images("test") / training["batch_size"])
    return str(found), found == training["evaluation_steps"]


def _whole(accuracy: float) -> int | None:
    """The number of test images that gives an accuracy of four digits, if there is one."""
    right = round(accuracy * _images("test"))
    return right if round(right / _images("test"), 4) == accuracy else None


@_check
def possible_accuracies():
    right = [_whole(accuracy) for accuracy in printed()["accuracy"].values()]
    return ", ".join(f"{n:,}" if n else "none" for n in right), None not in right


@_check
def evaluated_accuracy():
    right = _whole(printed()["evaluation"]["accuracy"])
    return f"{right:,}" if right else "no whole number fits", right is not None


@_check
def evaluation_time():
    line = printed()["evaluation"]
    others = (printed()["training"]["evaluation_steps"] - 1) * line["seconds_per_step"]
    return (f"{others:.1f} s, and {line['seconds'] - others:.0f} s for the first step",
            others <= line["seconds"])


@_check
def two_accuracies():
    batch, log = printed()["training"]["batch_size"], printed_log()
    tested = _images("test") // batch * batch
    during = round(log.loc[printed()["log"]["best_epoch"], "val_accuracy"] * tested)
    after, left_out = _whole(printed()["accuracy"]["final"]), _images("test") - tested
    chance = printed()["accuracy"]["final"] ** (after - during)
    return (f"{during:,} of {tested:,}, then {after:,} of {_images('test'):,}: {after - during} of "
            f"{left_out}, a chance of {chance:.1%}", 0 <= after - during <= left_out)


@_check
def best_epoch():
    found = int(printed_log()["val_loss"].idxmin())
    return str(found), found == printed()["log"]["best_epoch"]


@_check
def no_early_stop():
    losses = printed_log()["val_loss"]
    since_best = losses.index - losses.cummin().eq(losses).mul(losses.index).cummax()
    longest = int(since_best.max())
    return f"at most {longest} epochs without", longest < printed()["training"]["patience"]


@_check
def enough_epochs():
    losses = printed_log()["loss"].tail(3)
    return " > ".join(f"{loss:.3f}" for loss in losses), losses.is_monotonic_decreasing


@_check
def epoch_time():
    minutes = printed_log()["seconds"].mean() / 60
    return f"{minutes:.1f} minutes", abs(minutes - printed()["training"]["minutes_per_epoch"]) < 1


@_check
def total_time():
    hours = printed_log()["seconds"].sum() / 3600
    return f"{hours:.1f} hours", round(hours) == printed()["training"]["hours"]


# Networks

def _misprinted(build, model: str):
    rows = layer_comparison(models.layer_table(build()), model)
    wrong = int((~(rows["output_agrees"] & rows["parameters_agree"])).sum())
    return f"{wrong} of {len(rows)} rows differ", wrong == 0


@_check
def baseline_layers():
    return _misprinted(models.build_baseline, "baseline")


@_check
def final_layers():
    return _misprinted(models.build_final, "final")


@_check
def baseline_total():
    table = printed()["layers"]["baseline"]
    built, added = models.build_baseline().count_params(), sum(row[-1] for row in table["rows"])
    return f"{built:,}; rows: {added:,}", built == added == table["total"]


@_check
def baseline_megabytes():
    found = models.build_baseline().count_params() * 4 / 2**20
    return f"{found:.2f} MB", round(found, 2) == printed()["layers"]["baseline"]["megabytes"]


@_check
def l2_everywhere():
    convolutions = [layer for layer in models.build_final().layers if hasattr(layer, "filters")]
    found = sum(layer.kernel_regularizer is not None for layer in convolutions)
    return f"{found} of {len(convolutions)}", found == len(convolutions)


@_check
def first_loss():
    start = sum(float(loss) for loss in models.build_final().losses) + math.log(len(EMOTIONS))
    said = printed_log().loc[1, "loss"]
    return (f"{start:.1f} before training",
            abs(said - start) < abs(said - math.log(len(EMOTIONS))))


# Reading of numbers

@_check
def near_overfitting():
    epoch = printed_log().loc[printed()["log"]["best_epoch"]]
    gap = epoch["accuracy"] - epoch["val_accuracy"]
    return f"training minus test {100 * gap:+.1f} points", bool(gap > 0)


@_check
def thirteen_of_twenty():
    said = printed()["predictions"]
    p = stats.binomtest(said["correct"], said["images"], printed()["accuracy"]["final"]).pvalue
    return f"p = {p:.2f}", p > 0.05


@_check
def more_than_half():
    right = round(printed()["accuracy"]["final"] * _images("test"))
    low = stats.binomtest(right, _images("test")).proportion_ci(method="wilson").low
    return f"{low:.1%}", low > 0.5


def _difference(one: str, other: str):
    """Compare two printed accuracies as if they were of different images."""
    n = _images("test")
    right = [round(printed()["accuracy"][model] * n) for model in (one, other)]
    p = stats.chi2_contingency([right, [n - k for k in right]], correction=False).pvalue
    return f"p = {p:.3f}" if p >= 0.001 else "p < 0.001", p < 0.05


@_check
def final_beats_baseline():
    found, passed = _difference("final", "baseline")
    ours, theirs = _accuracies("final"), _accuracies("baseline")
    if not ours:
        return found, None
    points = [100 * (min(ours) - max(theirs)), 100 * (max(ours) - min(theirs))]
    return f"{found}; ours: {points[0]:+.1f} to {points[1]:+.1f} points", passed and points[0] > 0


@_check
def more_filters_beat_fewer():
    found, _ = _difference("final", "ablation")
    ours = differences("final", "ablation")["another model"].drop("report")
    if ours.empty:
        return found, None
    last = 100 * ours.iloc[-1]
    if not ours.index[-1].startswith("means"):
        return f"{found}; ours: {100 * ours['difference'].iloc[0]:+.1f} points, one seed", None
    return (f"{found}; ours, {ours.index[-1]}: {last['low']:+.1f} to {last['high']:+.1f} points",
            bool(last["low"] > 0))


# Our own runs

def _reports(model: str) -> list[pd.DataFrame]:
    return [classification_report(run.labels, run.predictions) for run in reference_runs(model)]


@_check
def weighted_mean():
    runs = [report for model in ("baseline", "final", "ablation") for report in _reports(model)]
    apart = max((np.ptp(report.loc[["macro avg", "weighted avg"]].to_numpy()[:, :3], axis=0).max()
                 for report in runs), default=None)
    return ("no run yet", None) if apart is None else (f"{apart:.4f} apart", apart < 1e-9)


def _accuracies(model: str) -> list[float]:
    return [run.accuracy for run in reference_runs(model)]


@_check
def baseline_accuracy():
    found = _accuracies("baseline")
    return (f"{min(found):.2%} to {max(found):.2%}",
            min(found) <= printed()["accuracy"]["baseline"] <= max(found))


def _close(model: str):
    found = _accuracies(model)
    if not found:
        return "no full run yet", None
    said = printed()["accuracy"][model]
    # Of two accuracies on so many images each, 95 % are closer than this by chance.
    bound = 1.96 * math.sqrt(2 * said * (1 - said) / _images("test"))
    return f"{np.mean(found):.2%}, seeds: {len(found)}", abs(np.mean(found) - said) < bound


@_check
def final_accuracy():
    return _close("final")


@_check
def ablation_accuracy():
    return _close("ablation")


def _by_class(model: str) -> pd.DataFrame:
    """Measures of each class with intervals, all seeds of a model together; maybe empty."""
    runs = reference_runs(model)
    if not runs:
        return pd.DataFrame()
    return class_intervals(np.concatenate([run.labels for run in runs]),
                           np.concatenate([run.predictions for run in runs]),
                           np.concatenate([known_copies(run)["group"] for run in runs]))


def _ranked(model: str, worst: set[str]):
    table = _by_class(model)
    if table.empty:
        return "no full run yet", None
    f1 = table["f1-score"].sort_values("value", ascending=False)
    best, middle = {"happy", "surprise"}, set(EMOTIONS) - {"happy", "surprise"} - worst
    turned = [(f1.loc[one], f1.loc[other]) for better, worse in ((best, middle), (middle, worst))
              for one in better for other in worse
              if f1.loc[one, "value"] <= f1.loc[other, "value"]]
    clearly = any(one["high"] < other["low"] for one, other in turned)
    return " > ".join(f1.index), not turned or (False if clearly else None)


@_check
def baseline_easy():
    return _ranked("baseline", {"fear", "sad"})


@_check
def final_easy():
    return _ranked("final", {"fear", "sad", "angry"})


@_check
def final_precision():
    table = _by_class("final")
    if table.empty:
        return "no full run yet", None
    found = table["precision"].loc[["happy", "surprise"]]
    clearly = (found["high"] < 0.75).any()
    return (" and ".join(f"{row.value:.0%} ({row.low:.0%} to {row.high:.0%})"
                         for row in found.itertuples()),
            bool((found["value"] > 0.75).all()) or (False if clearly else None))


@_check
def confused_pairs():
    runs = reference_runs("final")
    if not runs:
        return "no full run yet", None
    ranked = most_confused(sum(confusion_matrix(run.labels, run.predictions) for run in runs))
    said = ranked.index.isin(["sad/fear", "sad/neutral", "sad/angry"])
    one, other = int(ranked[said].min()), int(ranked[~said].max())
    clearly = stats.binomtest(other, one + other).pvalue < 0.05
    return (", ".join(f"{pair} {images}" for pair, images in ranked.head(4).items()),
            one > other or (False if clearly else None))


@_check
def smoother_curves():
    changes = {model: [run.history["val_accuracy"].tail(10).diff().abs().mean()
                       for run in reference_runs(model)] for model in ("baseline", "final")}
    if not changes["final"]:
        return "no full run yet", None
    final, baseline = (100 * np.array(changes[model]) for model in ("final", "baseline"))
    return (f"{final.mean():.1f} against {baseline.min():.1f} to {baseline.max():.1f} points",
            final.max() < baseline.min() or (False if final.min() > baseline.max() else None))
