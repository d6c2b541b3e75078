"""What the report printed, and how this course's numbers stand beside it."""

import functools
import itertools
import math
import tomllib

import numpy as np
import pandas as pd
from scipy import stats

from fer_helpers.emotions import COURSE
from fer_helpers.evaluation import accuracy_and_loss, bootstrap_difference
from fer_helpers.runs import Run, known_copies, reference_runs


@functools.cache
def printed() -> dict:
    """Return the numbers of the report as it printed them, from ``data/report.toml``."""
    with open(COURSE / "data" / "report.toml", "rb") as file:
        return tomllib.load(file)


def printed_log() -> pd.DataFrame:
    """Return the report's log of the final model (Figure 7) in the form of a run's history."""
    log = printed()["log"]
    return pd.DataFrame(log["rows"], columns=log["columns"]).set_index("epoch")


def layer_comparison(table: pd.DataFrame, model: str) -> pd.DataFrame:
    """Put a layer table beside the report's (Figure 9 for ``baseline``, 12 for ``final``).

    Parameters
    ----------
    table
        From :func:`fer_helpers.models.layer_table`.

    Returns
    -------
    DataFrame
        ``table`` with the columns ``printed_output`` and ``printed_parameters`` (text) and
        ``output_agrees`` and ``parameters_agree`` (bool).
    """
    rows = printed()["layers"][model]["rows"]
    types, outputs, parameters = zip(*rows, strict=True)
    if list(types) != list(table["type"]):
        raise ValueError(f"the layers are not those of the report's {model} model")
    return table.assign(
        printed_output=outputs,
        printed_parameters=[f"{n:,}" for n in parameters],
        output_agrees=np.array(outputs) == table["output"],
        parameters_agree=np.array(parameters) == table["parameters"],
    )


def closing_table(model: str, run: Run, references: list[Run]) -> pd.DataFrame:
    """Put side by side: the report, the run made here, and the course's FER-2013 runs.

    Parameters
    ----------
    model
        ``baseline``, ``final`` or ``ablation``.
    run
        The run made in the notebook.
    references
        From :func:`fer_helpers.runs.reference_runs`; several seeds give mean and range.

    Returns
    -------
    DataFrame of text
    """
    accuracy = printed()["accuracy"][model]
    tested = 6 * printed()["counts"]["test"]
    columns = {
        "report": {
            "dataset": "fer2013", "runs": "1", "test images": f"{tested:,}",
            "epochs run": str(printed()["training"]["epochs"]) if model == "final" else "not said",
            "test accuracy": f"{accuracy:.2%}", "test cross-entropy": "not said",
        },
        "run made here": _column([run]),
    }
    if references:
        columns["shipped FER-2013 runs"] = _column(references)
    return pd.DataFrame(columns)


def differences(first: str, second: str) -> dict[str, pd.DataFrame]:
    """Subtract the accuracy of a second model from that of a first: in the report, and here.

    Returns
    -------
    dict of DataFrame
        Each with the columns ``difference``, ``low`` and ``high`` (95 % interval), -1 to 1.
        ``another model``: the report's two numbers alone; our shipped runs on the same images, seed
        by seed, on all of them and on those without a copy in train; from two seeds on, the means
        over seeds (Welch 1947). ``only another seed``, a control: runs of one and the same model,
        the baseline included.
    """
    n = 6 * printed()["counts"]["test"]
    one, two = (printed()["accuracy"][model] for model in (first, second))
    spread = math.sqrt((one * (1 - one) + two * (1 - two)) / n)
    rows = {"report": {"difference": one - two, "low": one - two - 1.96 * spread,
                       "high": one - two + 1.96 * spread}}
    runs = {model: {run.settings["seed"]: run for run in reference_runs(model)}
            for model in (first, second, "baseline")}
    common = [seed for seed in runs[first] if seed in runs[second]]
    for seed in common:
        pair = runs[first][seed], runs[second][seed]
        rows[f"seed {seed}, all images"] = _paired(*pair)
        rows[f"seed {seed}, new images only"] = _paired(*pair, new_only=True)
    if len(common) > 1:
        accuracies = [[runs[model][seed].accuracy for seed in common] for model in (first, second)]
        found = stats.ttest_ind(*accuracies, equal_var=False).confidence_interval(0.95)
        rows[f"means of {len(common)} seeds"] = {
            "difference": np.mean(accuracies[0]) - np.mean(accuracies[1]),
            "low": found.low, "high": found.high}
    control = {f"{model}, seed {seed} - {other}": _paired(by_seed[seed], by_seed[other])
               for model, by_seed in runs.items() for seed, other in itertools.pairwise(by_seed)}
    return {"another model": pd.DataFrame.from_dict(rows, orient="index"),
            "only another seed": pd.DataFrame.from_dict(control, orient="index")}


def _paired(run: Run, other: Run, *, new_only: bool = False) -> dict[str, float]:
    """Compare two shipped runs image by image; with ``new_only`` without copies in train."""
    known = known_copies(run)
    part = ((known["copy_in_train"] == "") | (not new_only)).to_numpy()
    return bootstrap_difference(run.labels[part], run.predictions[part], other.predictions[part],
                                known["group"].to_numpy()[part])


def _column(runs: list[Run]) -> dict[str, str]:
    scores = pd.DataFrame([accuracy_and_loss(run.probabilities, run.labels) for run in runs])

    def text(values, form):
        low, high = format(values.min(), form), format(values.max(), form)
        mean = format(values.mean(), form)
        return mean if len(values) == 1 else f"{mean} ({low} to {high})"

    epochs = sorted({len(run.history) for run in runs})
    return {
        "dataset": runs[0].about["dataset"],
        "runs": str(len(runs)),
        "test images": f"{len(runs[0].labels):,}",
        "epochs run": " to ".join(str(n) for n in {epochs[0]: 0, epochs[-1]: 0}),
        "test accuracy": text(scores["accuracy"], ".2%"),
        "test cross-entropy": text(scores["cross_entropy"], ".3f"),
    }
