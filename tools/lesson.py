"""The lesson as one table, docs/lesson.toml: plans, reading times and slides are made from it.

    .venv/bin/python tools/lesson.py    # writes the tables of docs/teacher.md and docs/students.md

What stands between two markers, such as `<!-- plan -->` and `<!-- /plan -->`, is replaced.
"""

import functools
import itertools
import re
import tomllib

import notebook_files
import numpy as np
import pandas as pd
from drawings import BAR, EDGE, HISTORIES, SIX, SQUARE, convolution, report_difference, stop
from scipy import stats
from write_readme import answer, filled

from fer_helpers.course import COURSE, EMOTIONS, REFERENCE
from fer_helpers.evaluation import confusion_matrix, most_confused
from fer_helpers.identity import images
from fer_helpers.report import printed
from fer_helpers.runs import reference_runs
from machinery.files import write_whole

WORDS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
WORDS_A_MINUTE = 100  # of a text on mathematics, in a foreign language
SPOKEN_A_MINUTE, THINKING, LOOKING = 100, 1 / 3, 1 / 2  # minutes a question and a picture
LICENCE = "Text, slides and figures: CC BY 4.0. Code: MIT."


def quiz() -> dict[int, tuple[str, str]]:
    """Return the questions of docs/quiz.md with their right answers, by number."""
    questions, key = (COURSE / "docs" / "quiz.md").read_text(encoding="utf-8").split("## Key")
    right = dict(re.findall(r"^\| (\d+) \| ([^|]+) \|", key, re.MULTILINE))
    return {int(number): (question, right[number])
            for number, question in re.findall(r"^(\d+)\. (.*)", questions, re.MULTILINE)}


def lesson() -> dict:
    """Return the table: ``plan`` with its lessons, and ``step``, in their order."""
    table = tomllib.loads((COURSE / "docs" / "lesson.toml").read_text(encoding="utf-8"))
    questions = quiz()
    for step in table["step"]:
        if "repeats" in step:
            step["ask"], step["then"] = (
                "\n".join(f"{i}. {questions[number][part]}"
                          for i, number in enumerate(step["repeats"], 1)) for part in (0, 1))
        if step.get("exercise") == "computer":
            step["ask"] += "\n\nSelect the cell. First choose *Run*, *Run All Above Selected Cell*."
    return table


def beside(pixels: np.ndarray) -> str:
    """Write a grid of pixels with the filter to its right."""
    rows = [" ".join(map(str, row)) for row in pixels]
    right = [" ".join(f"{number:2}" for number in row) for row in EDGE]
    for i, (word, row) in enumerate(zip(["", "filter", ""], right, strict=True), 2):
        rows[i] += f"{word:^14}{row}"
    return "\n".join(["```", *rows, "```"])


@functools.cache
def facts() -> dict[str, str]:
    """Return what a slide says in braces, computed from the runs that come with the course."""
    runs = {model: reference_runs(model) for model in ("baseline", "final", "ablation")}
    matrix = confusion_matrix(*(np.concatenate([getattr(run, name) for run in runs["baseline"]])
                                for name in ("labels", "predictions")))
    mistakes = matrix.where(~np.eye(len(matrix), dtype=bool), 0)
    true = mistakes.max(axis=1).idxmax()
    said = mistakes.loc[true].idxmax()
    fear = matrix.loc["fear", "fear"]
    counts = images().query("split == 'test'")["emotion"].value_counts()[list(EMOTIONS)]
    shares = {"fit": [run.about["train_accuracy"] for run in runs["final"]],
              "tested": [run.accuracy for run in runs["final"]]}
    blank = pd.read_csv(REFERENCE / "fer2013_faults.csv", index_col=0)
    looked = pd.read_csv(REFERENCE / "looked_at.csv")
    looked = looked[looked["what"].str.contains("one grey")]
    shown = printed()["predictions"]
    low, high = stats.binomtest(shown["correct"], shown["images"]).proportion_ci(method="wilson")
    nine = "\n".join(" ".join(map(str, row)) for row in convolution(SQUARE)["after max pooling"])
    return {model: WORDS[len(found)] for model, found in runs.items()} | {
        name: f"{100 * min(found):.0f} to {100 * max(found):.0f} %"
        for name, found in shares.items()} | {
        "answer": answer(),
        "six": ", ".join(SIX),
        "bar": beside(BAR), "square": beside(SQUARE), "nine": f"```\n{nine}\n```",
        "counts": ", ".join(f"{emotion} {count}" for emotion, count in counts.items()),
        "happy": "{:,} of {:,} is {:.1f} %".format(
            counts["happy"], counts.sum(), 100 * counts["happy"] / counts.sum()),
        "mistake": f"{mistakes.loc[true, said]:,} images of {true} are called {said}",
        "both": ", ".join(f"{pair} {count:,}"
                          for pair, count in most_confused(matrix).head(3).items()),
        "fear_row": f"{fear:,} of {matrix.loc['fear'].sum():,}",
        "fear_column": f"{fear:,} of {matrix['fear'].sum():,}",
        "plain": str(blank.loc["blank: one grey everywhere"].sum()),
        "grey": str(looked["looked at"].sum()), "no_face": str(looked["found"].sum()),
        "report_low": f"{100 * report_difference()[1]:.2f}".replace("-", "−"),
        "stops": "\n".join("- {}: ends after epoch {}, epoch {} is kept.".format(name, *stop(one))
                           for name, one in HISTORIES.items()),
        "twenty": f"Anything from {100 * low:.0f} % to {100 * high:.0f} % fits. "
                  "Twenty images say little."}


def needed(step: dict) -> float:
    """Return the minutes that a step takes: its words, a question, a picture, and the work."""
    text = " ".join(step.get(key, "") for key in ("title", "ask", "then", "notes"))
    text = text.format_map(facts())
    question = "then" in step or "?" in step["title"] + step["ask"]
    words = re.findall(r"\w\S*", re.sub(r"```.*?```|\(http\S*\)", "", text, flags=re.DOTALL))
    return (len(words) / SPOKEN_A_MINUTE + question * THINKING
            + ("shows" in step) * LOOKING + step.get("work", 0))


def in_words(numbers: list[int]) -> str:
    """Write numbers shortly: 1 to 4, 7, 9 and 10."""
    parts: list[str] = []
    for _, run in itertools.groupby(enumerate(sorted(numbers)), lambda one: one[1] - one[0]):
        first, *rest = (number for _, number in run)
        parts += [f"{first} to {rest[-1]}"] if len(rest) > 1 else map(str, [first, *rest])
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


def steps(table: dict, plan: int, about: dict) -> list[dict]:
    """Return the steps of a lesson, each with ``start`` and ``length``; the last is its homework.

    The homework asks those questions of the quiz that the lesson prepares.
    """
    chosen = [step | {"length": step["minutes"][plan]} for number in about["notebooks"]
              for step in table["step"] if step["notebook"] == number and step["minutes"][plan]]
    numbers = [number for step in chosen for number in step.get("quiz", [])]
    ask = about["homework"] + (
        f"; quiz question{'s' * (len(numbers) > 1)} {in_words(numbers)}" if numbers else "")
    chosen.append({"title": "Homework", "ask": f"{ask}.", "length": 1, "asked": numbers,
                   "notes": "The same list is on the page for students."})
    clock = [0.0, *itertools.accumulate(step["length"] for step in chosen)]
    return [step | {"start": start} for step, start in zip(chosen, clock, strict=False)]


def plans(table: dict) -> str:
    """Write all plans: for each lesson its objectives, its steps with the clock, its homework."""
    text = []
    for plan, about in enumerate(table["plan"]):
        text.append(f"### {about['name']}")
        slide = 0
        for number, one in enumerate(about["lesson"], 1):
            if len(about["lesson"]) > 1:
                text.append(f"**Lesson {number}: {one['title']}**")
            text.append("Objectives:\n\n" + "\n".join(f"- {goal}" for goal in one["objectives"]))
            slide += 1
            rows = ["| slide | minutes | notebook, section | step | by | to work |",
                    "|---|---|---|---|---|---|", f"| {slide} | before | | The objectives | | |"]
            found, late, lost = steps(table, plan, one), [], []
            for step in found:
                slide += 1
                end = step["start"] + step["length"]
                place = (f"[{step['notebook']}](../notebooks/"
                         f"{notebook_files.path_of(step['notebook']).name}), {step['section']}"
                         if "notebook" in step else "")
                rows.append(f"| {slide} | {step['start']:g}–{end:g} | {place} | "
                            f"{step['title']} | {step.get('exercise', '')} | "
                            f"{step.get('work', '')} |")
                if step.get("late"):
                    late.append(slide)
                    lost += step.get("quiz", [])
            text.append("\n".join(rows))
            said = [f"*Left for questions:* {one['minutes'] - end:g} minutes."]
            if late:
                gained = sum(step["length"] for step in found if step.get("late"))
                question = f", and the quiz's {in_words(lost)}" if lost else ""
                said.append(f"*Late?* Leave out slide{'s' * (len(late) > 1)} {in_words(late)}"
                            f"{question}: {gained:g} minutes.")
            elsewhere = [step["title"] for step in table["step"] if "repeats" not in step
                         and step["notebook"] in one["notebooks"] and not step["minutes"][plan]]
            if elsewhere:
                said.append(f"*In other plans only:* {'; '.join(elsewhere)}")
            text.append("\n".join([*said, f"*Homework:* {found[-1]['ask']}"]))
    return "\n\n".join(text)


def homework(table: dict) -> str:
    """Write the homework of all lessons of Part I."""
    rows = ["| plan | lesson | homework |", "|---|---|---|"]
    for plan, about in enumerate(table["plan"][:-1]):
        rows += [f"| {about['name']} | {one['title']} | {steps(table, plan, one)[-1]['ask']} |"
                 for one in about["lesson"]]
    return "\n".join(rows)


def reading() -> str:
    """Write the table of times: reading, from the words of a notebook, beside running."""
    readme = (COURSE / "README.md").read_text(encoding="utf-8")
    rows = ["| notebook | to read | to run on FER-2013 |", "|---|---|---|"]
    row = r"\| \[(\d+ [^]]+)\]\(notebooks/(\S+)\.ipynb\) \|[^|]+\| ([^|]+) \|"
    for title, name, full in re.findall(row, readme):
        words = sum(len(text.split()) for text in notebook_files.texts(name))
        minutes = max(5, 5 * round(words / WORDS_A_MINUTE / 5))
        rows.append(f"| [{title}](../notebooks/{name}.ipynb) | {minutes} minutes | {full} |")
    return "\n".join(rows)


PAGES = {  # and the tables of each
    COURSE / "docs" / "teacher.md": {"plan": lambda: plans(lesson())},
    COURSE / "docs" / "students.md": {
        "reading": reading, "homework": lambda: homework(lesson())}}

if __name__ == "__main__":
    for page, parts in PAGES.items():
        write_whole(page, filled(page, parts, page.read_text(encoding="utf-8")).encode())
