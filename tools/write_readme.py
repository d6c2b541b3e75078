"""Write the tables of results in README and docs from the files that come with the course.

    python tools/write_readme.py        # `make refresh` does it, too

What stands between two markers, such as `<!-- runs -->` and `<!-- /runs -->`, is replaced.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.near_copies import count_copies
from fer_helpers.course import COURSE
from fer_helpers.dataset import REPORT_SIZES, balance
from fer_helpers.identity import images
from fer_helpers.report import printed
from fer_helpers.runs import accuracies, design_difference, reference_runs
from machinery.files import CourseError, write_whole

BENCH = COURSE / "benchmarks" / "bench.csv"
MODELS = {"baseline": "baseline, two convolutions", "final": "final model, 1024 filters",
          "ablation": "ablation, 512 filters", "compact_22": "compact network, notebook 10"}


def percent(values) -> str:
    """Return the mean, and the range if there are several; nothing if there are none."""
    values = [100 * value for value in values]
    if not values:
        return ""
    spread = f" ({min(values):.2f} to {max(values):.2f})" if len(values) > 1 else ""
    return f"{np.mean(values):.2f} %{spread}"


def table_of_runs() -> pd.DataFrame:
    """Put the report's accuracies beside those of the shipped runs."""
    rows = []
    for model in MODELS:
        runs = reference_runs(model)
        three = accuracies(runs)
        rows.append({
            "model": MODELS[model],
            "report": percent([printed()["accuracy"][model]] if model != "compact_22" else []),
            "test images": percent(three["test images"]),
            "without a copy": percent(three["without a copy"]),
            "unused": percent(three["unused"].dropna()),
            "training images": percent([run.about["train_accuracy"] for run in runs]),
            "seeds": len(runs),
        })
    return pd.DataFrame(rows).set_index("model")


def answer() -> str:
    """Say in a sentence whether 1024 filters are better than 512, by the course's one rule."""
    finals, ablations = reference_runs("final"), reference_runs("ablation")
    value, low, high = 100 * design_difference(finals, ablations)
    settled = "0 is inside, so it is *not settled*" if low <= 0 <= high else "it is *settled*"
    return (f"1024 minus 512, means over {len(finals)} and {len(ablations)} seeds: {value:+.2f} "
            f"points; differences from {low:+.2f} to {high:+.2f} fit: {settled}.")


def table_of_copies() -> pd.DataFrame:
    """Count the copies in FER-2013, over the six classes and in the balanced subset."""
    index = images()
    return pd.concat([count_copies(index), count_copies(balance(index, REPORT_SIZES))], axis=1,
                     keys=["six classes", "balanced subset"]).map("{:,}".format)


def table_of_speed() -> pd.DataFrame:
    """Show what the benchmark measured: the course's seconds, and how many times as long others."""
    measured = pd.read_csv(BENCH, comment="#")
    # What was timed at several sizes is in growth.svg; of loading, the largest stands here, too.
    several = measured["what"].str.endswith(" images") & (measured["what"] != "load, 18,000 images")
    measured = measured[~several]
    rows = {}
    for what, part in measured.groupby("what", sort=False):
        ours, others = part.iloc[0], part.iloc[1:].rename(columns={"times the course's": "times"})
        rows[what] = {"seconds": f"{ours['wall s']:.3g}", "times as long": "; ".join(
            f"{row['way']} {row['times']:.2f} ({row['lowest']:.2f} to {row['highest']:.2f})"
            for _, row in others.iterrows())}
        for share in ("share of step", "share of peak"):
            rows[what][share] = "" if np.isnan(ours[share]) else f"{ours[share]:.1%}"
    head = BENCH.read_text(encoding="utf-8").splitlines()[0].strip("# ")
    return pd.DataFrame(rows).T.rename_axis(head)


def markdown(table: pd.DataFrame) -> str:
    """Write a frame as a table of Markdown; the columns' levels are joined by commas."""
    heads = [", ".join(name) if isinstance(name, tuple) else name for name in table.columns]
    rows = [[table.index.name or "", *heads], ["---"] * (1 + len(heads)),
            *([name, *map(str, row)] for name, row in zip(table.index, table.to_numpy(),
                                                          strict=True))]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def filled(page: Path, parts: dict[str, Callable[[], str]], text: str) -> str:
    """Return the text of a page with what stands between its marks, ``<!-- name -->``, made anew.

    Raises CourseError if one of the marks is not there once.
    """
    for name, part in parts.items():
        start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        if not text.count(start) == text.count(end) == 1 or text.index(end) < text.index(start):
            raise CourseError(f"{page} lacks {start} or {end}, or has it twice. Put it back.")
        before, _, after = text.partition(start)
        text = f"{before}{start}\n\n{part()}\n\n{end}{after.partition(end)[2]}"
    return text


PAGES = {  # and the tables of each
    COURSE / "README.md": {"runs": lambda: markdown(table_of_runs()), "answer": answer},
    COURSE / "docs" / "data.md": {"copies": lambda: markdown(table_of_copies())},
    COURSE / "docs" / "speed.md": {"speed": lambda: markdown(table_of_speed())}}

if __name__ == "__main__":
    for page, parts in PAGES.items():
        write_whole(page, filled(page, parts, page.read_text(encoding="utf-8")).encode())
