"""Each verdict of notebook 9 is computed: for every claim, what would turn it."""

import copy
import functools
import re

import notebook_files
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from experiments.plan import GRID as WHOLE_GRID
from fer_helpers import (
    copies,
    course,
    dataset,
    evaluation,
    identity,
    models,
    plotting,
    report,
    runs,
)
from fer_helpers.course import EMOTIONS
from fer_helpers.runs import Run

CODE = notebook_files.code_cells(9)
GRID = [f"grid/{name}" for name in WHOLE_GRID if "later" not in name]


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Build each network once, and resample less."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("build_baseline", "build_final"):
            patch.setattr(models, name, functools.cache(getattr(models, name)))
        patch.setattr(evaluation, "bootstrap", lambda *values, bootstrap=evaluation.bootstrap,
                      **options: bootstrap(*values, **options | {"resamples": 100}))
        patch.setattr(plotting, "save_figure", lambda *_: None)  # those of nbval count
        whole()  # before anything is changed
        yield


def without_guards(source):
    """They speak of the shipped results."""
    return re.sub(r"(?m)^( *)assert .*$", r"\1pass", source)


@functools.cache
def whole():
    """Run the notebook: its names at the end, and for each claim the cell that checks it."""
    names, places = {}, {}
    for cell in CODE:
        exec(without_guards(cell.source), names)
        places = dict.fromkeys(names.get("rows", ()), cell.id) | places
    return names, places


@pytest.fixture
def verdict(needed_by):
    """Run the cell of a claim, with what it needs; return the verdict."""

    def give(name, change_source=without_guards):
        names = {}
        for cell in needed_by(CODE, whole()[1][name]):
            exec(change_source(cell.source), names)
        return names["rows"][name]["verdict"]
    return give


# What can be changed: a number of the report ...

def number(value, *place):
    return numbers((value, *place))


def numbers(*changes):
    def change(patch):
        changed = copy.deepcopy(report.printed())
        for value, *way, last in changes:
            target = changed
            for name in way:
                target = target[name]
            assert target[last] != value
            target[last] = value
        patch.setattr(report, "printed", lambda: changed)
    return change


def right_table(model, build):
    """The layer table as Keras prints it."""
    def change(patch):
        table = models.layer_table(getattr(models, build)())
        rows = table[["type", "output", "parameters"]].to_numpy().tolist()
        number(rows, "layers", model, "rows")(patch)
    return change


# ... the dataset or the network ...

def a_large_image(patch, folder):
    faults = pd.read_csv(course.REFERENCE / "fer2013_faults.csv", index_col=0)
    faults.loc["not 48 x 48", "test"] += 1
    faults.to_csv(folder / "fer2013_faults.csv")
    patch.setattr(course, "REFERENCE", folder)


def no_copies(patch):
    images = identity.images()
    patch.setattr(identity, "images", lambda: images.assign(digest=range(len(images))))


def much_disgust(patch):
    swapped = identity.images().replace({"disgust": "surprise", "surprise": "disgust"})
    patch.setattr(identity, "images", lambda: swapped)


def penalty_everywhere(patch):
    small = models.keras.Sequential([models.keras.Input((48, 48, 1)),
                                     *(layer for _ in range(3)
                                       for layer in models.conv_block(1, 1, l2=0.01))])
    patch.setattr(models, "build_final", lambda: small)


# ... or our runs.

RIGHT = {"happy": 0.8, "sad": 0.42, "fear": 0.34, "surprise": 0.75, "neutral": 0.56, "angry": 0.45}
TAKEN_FOR = {"happy": ["neutral", "angry"], "sad": ["fear", "neutral", "fear", "angry"],
             "fear": ["sad", "neutral", "angry"], "neutral": ["sad", "fear"],
             "surprise": ["fear", "sad", "neutral", "angry"], "angry": ["fear", "sad", "fear"]}
MIXED = {name: [other for other in EMOTIONS if other != name] for name in EMOTIONS}


@functools.cache
def images_and_labels():
    kept = dataset.balance(identity.images(), dataset.REPORT_SIZES)
    ids = kept.loc[kept["split"] == "test", "path"].to_numpy(dtype=str)
    return ids, np.array([EMOTIONS.index(path.split("/")[1]) for path in ids])


def made_up(model, seed, more, right, taken_for, jump, gap, loss):
    """A run in which each class is right so often, and else taken for others in turn."""
    ids, labels = images_and_labels()
    predictions = labels.copy()
    for label, name in enumerate(EMOTIONS):
        of_class = np.flatnonzero(labels == label)
        wrong = of_class[round((right[name] + more + 0.004 * seed) * len(of_class)):]
        others = [EMOTIONS.index(other) for other in taken_for[name]]
        predictions[wrong] = np.resize(others, len(wrong))
    epochs = pd.RangeIndex(1, 21, name="epoch")
    test = 0.5 + (jump + 0.001 * seed) * (np.arange(20) % 2)
    history = pd.DataFrame({"loss": 10 * loss + 2.5 + 0.1 * seed, "val_accuracy": test,
                            "val_loss": loss + 0.01 * seed}, index=epochs)
    about = {"dataset": "made up", "kept_epoch": 20, "device": "none",
             "train_accuracy": (predictions == labels).mean() + gap}
    return Run(np.eye(6, dtype=np.float32)[predictions], labels, ids,
               {"model": model, "seed": seed}, history, about)


def our_runs(seeds=3, right=RIGHT, taken_for=TAKEN_FOR, **others):
    """Each model: its accuracy above RIGHT, its mean jump, its gap and its loss."""
    chosen = {"final": (0, 0.02, -0.02, 1.3), "baseline": (-0.09, 0.06, 0.1, 1.4),
              "ablation": (-0.024, 0.02, -0.02, 1.4), "compact_22": (0.05, 0, 0, 1), **others}

    def change(patch):
        made = {model: [made_up(model, seed, more, right, taken_for, *rest)
                        for seed in range(seeds)] for model, (more, *rest) in chosen.items()}
        patch.setattr(runs, "reference_runs", lambda name: made.get(name, []))
    return change


AS_SAID = our_runs()
ONE_SEED = our_runs(seeds=1)
BAD = {"right": RIGHT | {"happy": 0.3, "surprise": 0.35, "fear": 0.7, "sad": 0.7},
       "taken_for": {name: ["happy"] for name in EMOTIONS} | {"happy": ["surprise"]},
       "final": (-0.1, 0.06, 0.02, 1.5), "baseline": (0.1, 0.02, 0, 1.3),
       "ablation": (0.1, 0.02, 0.1, 1.3), "compact_22": (-0.2, 0, 0, 1)}
UNTRIED = our_runs(**BAD)
OTHERWISE = our_runs(**BAD, **dict.fromkeys(GRID, BAD["baseline"]))
ONE_FITS = our_runs(baseline=(0.1, 0, 0, 1), **{GRID[3]: (-0.09, 0.06, 0.1, 1.4)})
OF_BASELINE = ["baseline_easy", "baseline_fear", "final_beats_baseline", "final_means",
               "higher_diagonal", "smoother_curves"]
OF_RUNS = ["final_easy", "best_two", "final_precision", "confused_pairs", "rarely_happy",
           "rarely_surprise", "no_better_with_512", "no_better_loss", "same_gap", "sophisticated"]


LOG = ("log", "rows")  # then the epoch - 1, and the column
EXAMPLES = [
    ("train_images", number(28_708, "original", "train"), "cannot be right"),
    ("test_images", number(7_178, "original", "test"), "holds"),
    ("test_images", number(400, "counts", "test"), "differs"),
    ("per_class", number(832, "counts", "test"), "cannot be right"),
    ("sizes", a_large_image, "cannot be right"),
    ("disgust", much_disgust, "cannot be right"),
    ("most_cut", number(8_000, "counts", "train"), "cannot be right"),
    ("unseen", no_copies, "holds"),
    ("steps", number(282, "training", "steps_per_epoch"), "cannot be right"),
    ("evaluation_steps", number(56, "training", "evaluation_steps"), "cannot be right"),
    ("possible_accuracies", number(0.5533, "accuracy", "final"), "cannot be right"),
    ("log_accuracies", number(0.1786, *LOG, 1, 4), "holds"),
    ("two_accuracies", number(0.5551, "accuracy", "final"), "cannot be right"),
    ("two_accuracies", AS_SAID, "holds"),
    ("two_accuracies", our_runs(right=RIGHT | {"surprise": 0.4}), "not settled"),
    ("evaluated_accuracy", number(0.5534, "evaluation", "accuracy"), "holds"),
    ("evaluated_loss", number(1.33, "evaluation", "loss"), "holds"),
    ("best_weights", number(19, "log", "best_epoch"), "cannot be right"),
    ("no_early_stop", number(2, "training", "patience"), "cannot be right"),
    ("enough_epochs", our_runs(final_40=(0, 0, 0, 1)), "holds"),
    ("enough_epochs", our_runs(final_40=(0.05, 0, 0, 1)), "not reproduced"),
    ("enough_epochs", AS_SAID, "not settled"),
    ("curves", numbers(*((0.9, *LOG, row, 2) for row in (0, 1, 2))), "cannot be right"),
    ("epoch_time", number(12, "training", "minutes_per_epoch"), "differs"),
    ("total_time", number(3.5, "training", "hours"), "holds"),
    ("baseline_layers", right_table("baseline", "build_baseline"), "holds"),
    ("final_layers", right_table("final", "build_final"), "holds"),
    ("total", number(4_758_342, "layers", "baseline", "total"), "holds"),
    ("trainable", number(4_758_022, "layers", "baseline", "trainable"), "holds"),
    ("non_trainable", number(320, "layers", "baseline", "non_trainable"), "holds"),
    ("kilobytes", number(0.48, "layers", "baseline", "non_trainable_kilobytes"), "differs"),
    ("megabytes", number(18.16, "layers", "baseline", "megabytes"), "differs"),
    ("l2_everywhere", penalty_everywhere, "holds"),
    ("first_loss", number(8.3, *LOG, 0, 3), "not reproduced"),
    ("first_loss", AS_SAID, "possible"),
    ("evaluation_time", number(0.538, "evaluation", "seconds_per_step"), "holds"),
    ("evaluation_time", number(0.60, "evaluation", "seconds_per_step"), "cannot be right"),
    ("near_overfitting", number(0.62, *LOG, 17, 2), "cannot be right"),
    ("near_overfitting", numbers(*((0.57, *LOG, row, 2) for row in (17, 18, 19))), "holds"),
    ("thirteen_of_twenty", number(18, "predictions", "correct"), "not settled"),
    ("thirteen_of_twenty", number(20, "predictions", "correct"), "contradiction"),
    ("more_than_half", number(0.51, "accuracy", "final"), "not settled"),
    ("more_than_half", number(0.48, "accuracy", "final"), "cannot be right"),
    *((f"{model}_accuracy", change, said) for model in ("baseline", "final", "ablation")
      for change, said in ((AS_SAID, "possible"), (OTHERWISE, "not reproduced"),
                           (ONE_SEED, "not settled"))),
    *((name, change, said) for name in OF_BASELINE + OF_RUNS
      for change, said in ((AS_SAID, "holds"), (OTHERWISE, "not reproduced"),
                           (ONE_SEED, "not settled"))),
    *((name, UNTRIED, "not settled") for name in ["baseline_accuracy", *OF_BASELINE]),
    ("baseline_accuracy", ONE_FITS, "possible"),
    ("final_beats_baseline", ONE_FITS, "holds"),
    ("almost_80", AS_SAID, "holds"),
    ("almost_80", our_runs(taken_for=MIXED), "not reproduced"),
    ("almost_80", ONE_SEED, "not settled"),
]


@pytest.mark.parametrize(("name", "change", "said"), EXAMPLES,
                         ids=[f"{name}: {said}" for name, _, said in EXAMPLES])
def test_another_number_gives_another_verdict(
        name, change, said, verdict, monkeypatch, tmp_path):
    change(monkeypatch, tmp_path) if change is a_large_image else change(monkeypatch)
    assert verdict(name) == said


@pytest.mark.parametrize(("name", "change"), [
    ("test_images", number(400, "counts", "test")), ("unseen", no_copies),
    ("best_weights", number(19, "log", "best_epoch")),
    ("evaluated_loss", number(1.33, "evaluation", "loss")),
    ("curves", numbers(*((0.9, *LOG, row, 2) for row in (0, 1, 2)))),
    ("near_overfitting", number(0.62, *LOG, 17, 2)),
    *((name, OTHERWISE) for name in (
        "baseline_easy", "final_beats_baseline", "best_two", "rarely_happy", "no_better_with_512",
        "same_gap", "sophisticated"))])
def test_a_guard_fails_where_its_sentence_is_no_longer_true(name, change, verdict, monkeypatch):
    change(monkeypatch)
    with pytest.raises(AssertionError):
        verdict(name, str)


@pytest.fixture(scope="module")
def now(quick):
    return whole()[0]


def test_every_claim_has_a_counter_example(now):
    assert {name for name, _, _ in EXAMPLES} == set(now["rows"]), "write what turns it: EXAMPLES"
    for name, row in now["rows"].items():
        assert {said for other, _, said in EXAMPLES if other == name} != {row["verdict"]}, name


def test_the_verdicts_that_are_defined_are_those_that_can_be_given(now):
    text = next(cell.source for cell in notebook_files.read(9).cells if cell.id == "words")
    defined = re.findall(r"^- \*\*(.*?)\*\*:", text, re.MULTILINE)
    given = {said for _, _, said in EXAMPLES} | {row["verdict"] for row in now["rows"].values()}
    assert set(defined) == given == set(now["LOOKS"])


def test_each_row_of_the_table_leads_to_a_heading(now):
    text = "\n".join(notebook_files.texts(9))
    for place in {row["where"] for row in now["rows"].values()}:
        anchor = place.replace(" ", "-")  # as Jupyter makes it from the heading
        assert f'<a id="{anchor}"></a>\n\n## {place}\n' in text
        assert f'href="#{anchor}"' in now["shown"]


def test_designs_are_compared_by_one_rule(now, monkeypatch):
    found = now["gains"]({"it": lambda run: run.accuracy})(runs.reference_runs("ablation"))
    expected = runs.design_difference(*map(runs.reference_runs, ("final", "ablation")))
    pd.testing.assert_series_equal(found.loc["it"], expected, check_names=False)


@pytest.mark.parametrize(("low", "high", "passed"), [
    (0.01, 0.05, True), (-0.05, -0.01, False), (-0.01, 0.05, None), (np.nan, np.nan, None),
    ([0.1, 0.2], [0.3, 0.4], True), ([0.1, -0.2], [0.3, 0.4], None), ([0.1, -2], [0.3, -1], False)])
def test_one_rule_for_differences(now, low, high, passed):
    assert now["settled"]({"low": low, "high": high}) is passed


@pytest.mark.parametrize(("low", "high", "better", "alike"), [
    (-0.05, 0.02, True, None), (-0.02, 0.02, True, True), (-0.02, 0.04, None, None),
    (0.01, 0.02, False, True), (0.04, 0.05, False, False), (-0.05, -0.04, True, False)])
def test_no_better_and_similar_have_a_margin(now, low, high, better, alike):
    interval = {"low": low, "high": high}
    assert now["no_better"](interval) is better
    assert now["alike"](interval) is alike


def test_an_interval_within_a_design_holds_seeds_and_images(now, monkeypatch):
    """With equal seeds it is the bootstrap's of one run; seeds that differ make it wider."""
    AS_SAID(monkeypatch)
    ours = runs.reference_runs("final")
    number = now["lead"](["happy"], ["sad"])
    same, different = (now["within"](some, number) for some in (ours[:1] * 3, ours))
    cells = evaluation.cells(ours[0].labels, ours[0].predictions)
    groups = copies.known_copies(ours[0].ids)["group"]
    alone = evaluation.bootstrap(cells, groups, lambda shares: number(shares)[..., None]).iloc[0]
    assert same["value"] == pytest.approx(alone["value"])
    for end in ("low", "high"):
        assert same[end] == pytest.approx(alone[end], abs=0.01)
    values = [number(evaluation.cells(run.labels, run.predictions).mean(0)) for run in ours]
    seeds = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert different["low"] < seeds[0] < seeds[1] < different["high"]
