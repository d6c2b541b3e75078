"""What the report printed, and how this course's numbers stand beside it."""

import functools
import tomllib

import numpy as np
import pandas as pd

from fer_helpers.emotions import COURSE
from fer_helpers.evaluation import accuracy_and_loss
from fer_helpers.runs import Run


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
