"""The lesson as one table, docs/lesson.toml: plans, reading times and slides are made from it.

    python tools/lesson.py        # writes the tables of docs/teacher.md and docs/students.md

What stands between two markers, such as `<!-- plan -->` and `<!-- /plan -->`, is replaced.
"""

import re
import tomllib
from pathlib import Path

import nbformat
from drawings import SIX
from scipy import stats
from write_readme import answer

from fer_helpers.course import COURSE
from fer_helpers.report import printed
from fer_helpers.runs import reference_runs
from machinery.files import write_whole

WORDS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
WORDS_A_MINUTE = 100  # of a text on mathematics, in a foreign language
PAGES = [COURSE / "docs" / f"{name}.md" for name in ("teacher", "students")]
LICENCE = "Text, slides and figures: CC BY 4.0. Code: MIT."


def lesson() -> dict:
    """Return the table: ``plan`` with its lessons, and ``step``, in their order."""
    return tomllib.loads((COURSE / "docs" / "lesson.toml").read_text(encoding="utf-8"))


def notebook_path(number: int) -> Path:
    """Return the notebook with this number."""
    return next((COURSE / "notebooks").glob(f"{number:02}_*.ipynb"))


def facts() -> dict[str, str]:
    """Return what a slide says in braces, computed from the runs that come with the course."""
    counts = {model: len(reference_runs(model)) for model in ("baseline", "final", "ablation")}
    shown = printed()["predictions"]
    low, high = stats.binomtest(shown["correct"], shown["images"]).proportion_ci(method="wilson")
    return {model: WORDS[count] for model, count in counts.items()} | {
        "answer": answer(),
        "six": ", ".join(SIX),
        "twenty": f"Anything from {low:.0%} to {high:.0%} fits. Twenty images say little."}


def steps(table: dict, plan: int, notebooks: list[int]) -> list[dict]:
    """Return the steps of a lesson, notebook by notebook, with ``start`` and ``length``."""
    found, clock = [], 0.0
    for number in notebooks:
        for step in table["step"]:
            if step["notebook"] == number and step["minutes"][plan]:
                found.append(step | {"start": clock, "length": step["minutes"][plan]})
                clock += step["minutes"][plan]
    return found


def plans(table: dict) -> str:
    """Write all plans: for each lesson its objectives, its steps with the clock, its homework."""
    text = []
    for plan, about in enumerate(table["plan"]):
        text.append(f"### {about['name']}")
        for number, one in enumerate(about["lesson"], 1):
            if len(about["lesson"]) > 1:
                text.append(f"**Lesson {number}: {one['title']}**")
            text.append("Objectives:\n\n" + "\n".join(f"- {goal}" for goal in one["objectives"]))
            rows = ["| minutes | notebook, section | step | by |", "|---|---|---|---|"]
            for step in steps(table, plan, one["notebooks"]):
                end = step["start"] + step["length"]
                path = notebook_path(step["notebook"]).name
                rows.append(f"| {step['start']:g}–{end:g} | "
                            f"[{step['notebook']}](../notebooks/{path}), {step['section']} | "
                            f"{step['title']} | {step.get('exercise', '')} |")
            skipped = [step["title"] for step in table["step"]
                       if step["notebook"] in one["notebooks"] and not step["minutes"][plan]]
            text.append("\n".join(rows))
            text.append((f"*Skip:* {'; '.join(skipped)}.\n" if skipped else "")
                        + f"*Homework:* {one['homework']}")
    return "\n\n".join(text)


def reading() -> str:
    """Write the table of times: reading, from the words of a notebook, beside running."""
    readme = (COURSE / "README.md").read_text(encoding="utf-8")
    rows = ["| notebook | to read | to run on FER-2013 |", "|---|---|---|"]
    row = r"\| \[(\d+ [^]]+)\]\((notebooks/\S+\.ipynb)\) \|[^|]+\| ([^|]+) \|"
    for title, path, full in re.findall(row, readme):
        cells = nbformat.read(COURSE / path, as_version=4).cells
        words = sum(len(cell.source.split()) for cell in cells if cell.cell_type == "markdown")
        minutes = max(5, 5 * round(words / WORDS_A_MINUTE / 5))
        rows.append(f"| [{title}](../{path}) | {minutes} minutes | {full} |")
    return "\n".join(rows)


def filled(text: str) -> str:
    """Return a page with its tables made anew."""
    for name, part in {"plan": plans(lesson()), "reading": reading()}.items():
        start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        if start in text:
            before, _, after = text.partition(start)
            text = f"{before}{start}\n\n{part}\n\n{end}{after.partition(end)[2]}"
    return text


if __name__ == "__main__":
    for page in PAGES:
        write_whole(page, filled(page.read_text(encoding="utf-8")).encode())
