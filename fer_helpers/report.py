"""What the report printed, misprints included, and nothing else."""

import functools
import tomllib

import numpy as np
import pandas as pd

from fer_helpers.course import COURSE


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

    Returns ``table``, from :func:`fer_helpers.models.layer_table`, with four more columns, the
    texts ``printed_output`` and ``printed_parameters``, ``output_agrees`` and ``parameters_agree``.
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
