"""The pages beside the notebooks: glossary, lesson, quiz, sheets, and what they say."""

import functools
import itertools
import re

import check_outputs
import lesson
import make_sheets
import notebook_files
import numpy as np
import pandas as pd
import pytest
from drawings import DRAWN, THREE_FACES
from matplotlib.text import Text
from scipy import stats

from experiments import laboratory
from fer_helpers.course import COURSE, EMOTIONS
from fer_helpers.report import printed
from fer_helpers.runs import reference_runs

GLOSSARY = (COURSE / "docs" / "glossary.md").read_text(encoding="utf-8")


def rows(text):
    """Return the rows of the glossary: term, notebook, sentence, Catalan, Spanish."""
    line = r"^\| \[([^]]+)\]\(\.\./notebooks/([^)]+)\) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$"
    return re.findall(line, text, re.MULTILINE)


@functools.cache
def prose(notebook):
    """Return the words of a notebook: no code, no marks, one line, lower case."""
    text = " ".join(notebook_files.texts(notebook.removesuffix(".ipynb")))
    return " ".join(re.sub(r"\]\([^)]*\)|`[^`]*`|[*\[]", " ", text).casefold().split())


def faults(text):
    """Say what is wrong with a glossary."""
    terms = [row[0].casefold() for row in rows(text)]
    found = [f"not in order: {second}" for first, second in zip(terms, sorted(terms), strict=True)
             if first != second]
    found += [f"twice: {term}" for term in sorted(set(terms)) if terms.count(term) > 1]
    for term, notebook, sentence, _, _ in rows(text):
        if not (COURSE / "notebooks" / notebook).is_file():
            found.append(f"{term}: no notebook {notebook}")
        elif not re.search(rf"\b{re.escape(term.casefold())}", prose(notebook)):
            found.append(f"{term}: not in {notebook}")
        if not re.fullmatch(r"[A-Z].*\.", sentence):
            found.append(f"{term}: not a sentence")
    return found


def test_every_line_of_the_table_is_a_row():
    lines = [line for line in GLOSSARY.splitlines() if line.startswith("| ")]
    assert len(rows(GLOSSARY)) == len(lines) - 1 > 100  # all but the heading


def test_terms_are_in_order_and_the_notebooks_use_them():
    assert faults(GLOSSARY) == []


@pytest.mark.parametrize(("old", "new", "fault"), [
    ("[ablation]", "[zebra]", "not in order: "),
    ("[ablation]", "[accuracy]", "twice: accuracy"),
    ("[ablation]", "[ablatium]", "ablatium: not in 05_"),
    ("[ablation](../notebooks/05_", "[ablation](../notebooks/50_", "ablation: no notebook 50_"),
    ("| The share of right answers. |", "| right answers |", "accuracy: not a sentence"),
])
def test_a_wrong_row_is_found(old, new, fault):
    assert old in GLOSSARY
    assert any(fault in found for found in faults(GLOSSARY.replace(old, new, 1)))


@pytest.mark.parametrize("name", ["teacher", "students", "quiz", "model_cards", "glossary"])
def test_no_result_of_ours_is_typed_in(name):
    """Results stand in the README's table, which is written from the runs."""
    text = (COURSE / "docs" / f"{name}.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\d+\.\d+ %", text)) <= {"47.22 %", "55.34 %", "53.09 %"}


# The lesson

TABLE = lesson.lesson()
LESSONS = [(number, one) for number, plan in enumerate(TABLE["plan"]) for one in plan["lesson"]]


@functools.cache
def sections(number):
    """Return the sections of a notebook: what stands in each, code and text."""
    text = "\n\n".join(cell.source if cell.cell_type == "markdown" else re.sub(
        "^#", " #", cell.source, flags=re.MULTILINE) for cell in notebook_files.read(number).cells)
    parts = re.split(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize(("plan", "about"), LESSONS)
def test_a_lesson_takes_its_minutes(plan, about):
    found = lesson.steps(TABLE, plan, about)
    assert 0 <= about["minutes"] - sum(step["length"] for step in found) <= 10, "for questions"
    assert all(one["start"] + one["length"] == two["start"]
               for one, two in itertools.pairwise(found))
    assert found[0].get("opens"), "a lesson begins with an opener"


def test_the_hour_is_one_for_a_class():
    """Eight minutes on paper; loss and epoch before the first curve; the end is never skipped."""
    hour = lesson.steps(TABLE, 0, TABLE["plan"][0]["lesson"][0])
    assert [step["length"] for step in hour if step["title"] == "Exercise: on paper"] == [8]
    titles = [step["title"] for step in hour]
    assert titles.index("How does a network learn?") < titles.index("Does it learn?")
    assert titles[-2:] == ["What 55 % does not say", "Homework"]


@pytest.mark.parametrize("step", TABLE["step"], ids=lambda step: step["title"])
def test_a_step_is_complete_and_has_its_place_in_a_notebook(step):
    assert step["section"] in sections(step["notebook"])
    assert len(step["minutes"]) == len(TABLE["plan"]) and len(step["notes"]) > 40
    assert step.get("exercise") in (None, "class", "paper", "computer")
    assert not set(step) - {"notebook", "section", "opens", "exercise", "minutes", "work", "quiz",
                            "repeats", "late", "title", "ask", "shows", "part", "then", "notes"}
    # Each has the time for its words, its picture and its work, and hardly more.
    assert all(minutes == 0 or needs - 0.25 <= minutes <= 1.25 * needs + 1
               for minutes in step["minutes"] for needs in [lesson.needed(step)])
    assert step.get("opens") or "?" not in step["title"] + step["ask"] or (
        "then" in step or "nswer: " in step["notes"] or "exercise" in step), "no answer"
    assert not step["notes"].endswith("?"), "a question of the notes has its answer there"


@pytest.mark.parametrize("step", TABLE["step"], ids=lambda step: step["title"])
def test_a_picture_and_an_exercise_stand_in_the_section_that_the_plan_names(step):
    found = sections(step["notebook"])
    wanted = [step["shows"]] if step.get("shows") not in (None, *DRAWN) else []
    name = f"**Exercise: {re.sub('^(Exercise|Your turn): ', '', step['title'])}.**"
    wanted += [name] if any(name in text for text in found.values()) else []
    assert all(part in found[step["section"]] for part in wanted)


def test_a_homework_asks_what_its_lesson_has_prepared():
    """Two plans ask all questions of the quiz, each once; what is repeated was asked before."""
    for plan, about in enumerate(TABLE["plan"][:-1]):
        asked = []
        for one in about["lesson"]:
            found = lesson.steps(TABLE, plan, one)
            assert all(number in asked for step in found for number in step.get("repeats", []))
            asked += found[-1]["asked"]
        assert plan == 0 or sorted(asked) == [*range(1, 21)]
    assert lesson.in_words([9, 3, 1, 2, 7, 10]) == "1 to 3, 7, 9 and 10"
    assert lesson.in_words([4]) == "4"


QUOTED = {  # in lesson.toml: notebook, and what it prints there
    "22 % of the test images right (95 % interval: 20.7 % to 23.4 %)": (
        1, r"22\.0%\n.* 20\.7% to 23\.4%"),
    "6 × 599 = 3,594": (1, "6 × 599 = 3,594"),
    "It has 281 steps, and ten images are left over": (
        2, "make 281 full batches of 64,\nand 10 images are left"),
    "128 = 36,992": (3, "second convolution 36,992"),
    "lie within five points of the report's": (4, r"of a training accuracy: [0-4]\.\d points"),
    "587 of 3,594 are known": (6, r"known: +587 of 3,594, 16\.3%"),
    "+12 points (+1 to +22)": (6, r"baseline, exact +\+12\.0 +\+1\.2 +\+21\.9 +more"),
    "it is about six": (7, r"a coin decides +62\.9% +59\.7%"),
    "About 10 of each": (8, r"the report's difference, unpaired +\d+% +10 "),
    "38 for one as small as ours": (8, r"our difference, unpaired +\d+% +38 "),
}


@pytest.mark.parametrize("said", QUOTED)
def test_a_number_in_the_notes_is_the_one_that_its_notebook_prints(said):
    number, shown = QUOTED[said]
    assert any(said in step.get(key, "") for step in TABLE["step"] for key in ("then", "notes"))
    assert re.search(shown, "\n".join(
        output.get("text", "") + output.get("data", {}).get("text/plain", "")
        for cell in notebook_files.code_cells(number) for output in cell.outputs))


def test_the_pages_are_written_from_the_table():
    for page, parts in lesson.PAGES.items():
        text = page.read_text(encoding="utf-8")
        assert lesson.filled(page, parts, text) == text, f"{page.name}: make refresh writes it"
    assert lesson.reading().count("](../notebooks/") == len(list(COURSE.glob("notebooks/*.ipynb")))


def test_wrong_answers_belong_to_questions_that_exist():
    text = (COURSE / "docs" / "teacher.md").read_text(encoding="utf-8")
    found = re.findall(r"^\| \[[^]]+\]\(([^)]+)\) \| ([^|]+) \| [^|]+ \| [^|]+ \|$",
                       text.partition("## Typical wrong answers")[2], re.MULTILINE)
    assert len(found) > 25
    for place, question in found:
        words = " ".join(re.sub(r"`[^`]*`|[*\[]", " ", question).casefold().split())
        there = (prose(place.removeprefix("../notebooks/")) if "notebooks" in place
                 else (COURSE / "docs" / place).read_text(encoding="utf-8").casefold())
        assert words in there, (place, question)


def test_the_quiz_has_a_key_to_each_of_its_twenty_questions():
    questions, key = (COURSE / "docs" / "quiz.md").read_text(encoding="utf-8").split("## Key")
    assert re.findall(r"^(\d+)\. .*\?", questions, re.MULTILINE) == [str(i) for i in range(1, 21)]
    assert re.findall(r"^\| (\d+) \| [^|]+ \| [^|]+ \| [^|]+ \|$", key, re.MULTILINE) == [
        str(i) for i in range(1, 21)]
    assert make_sheets.stop([2.0, 1.5, 1.6, 1.4, 1.5, 1.6, 1.7]) == (7, 4)
    low, high = stats.binomtest(13, 20).proportion_ci(method="wilson")
    assert f"{low:.0%} to {high:.0%}".replace("%", " %") in key


# What README and slides say of our runs: a guard in a notebook holds it, or it is counted here.

GUARDED = {  # notebook, words of its guard
    "One test picture in six has a copy": (6, "one test image in six"),
    "another answer than the label in four of ten": (7, "in four of ten it is not"),
    "1024 filters against 512 is not settled": (5, "not settled: zero fits, the report's fits"),
    "*Disgust* goes first": (1, "less than a seventh as many"),
    "*surprise* is brighter than *sad*": (1, "clearly the brightest class"),
    "new ones do not follow: **overfitting**": (
        3, "every baseline knows its training images better"),
    "*Happy* and *surprise* are easy": (3, "best at happy and surprise"),
    "It **underfits**": (4, "hardly better there than on new ones"),
    "*Sad* and *neutral*, in every seed": (4, "in every seed"),
    "Training and test lie close": (4, "always within five points"),
    "Most of it is **penalty**": (4, "most of the first loss is penalty"),
    "*Sad* is in the three longest bars": (7, "the report's"),
    "*Happy* is nearly always confirmed": (7, "nearly always confirmed"),
    "*fear* seldom": (7, "a label fear seldom"),
    "For *fear*, *neutral* and *sad* come before": (7, "come before fear itself"),
    "for *sad*, *neutral* comes first": (7, "the most frequent answer"),
    "One person is right a little less often than the final model": (7, "less often"),
    "Ten who vote are right more often": (7, "only a few"),
    "Chance alone often does as much": (8, "coins often fall at least so unevenly"),
    "The bars of final and ablation overlap": (8, "overlap"),
    "Smaller images lose points at first": (10, "cost points"),
}


def fear_is_missed():
    runs = reference_runs("baseline")
    found = [(run.predictions == run.labels)[run.labels == EMOTIONS.index("fear")] for run in runs]
    return np.mean(found) < 0.5


def accuracy_rises_and_jumps():
    late = [run.history["val_accuracy"].iloc[10:] for run in reference_runs("baseline")]
    return all(one.iloc[5:].mean() > one.iloc[:5].mean() and one.diff().abs().max() > 0.02
               for one in late)


def one_rung_gains_and_costs_nothing():
    table = pd.read_csv(COURSE / "data" / "reference" / "ladder.csv").set_index("rung")
    return (table["both_ways"].diff()[4] > 0.04
            and table["compute"][4] < 1.02 * table["compute"][3])


def silence_pays():
    """Of the surest fifth more are right than of the surest two fifths, and so on."""
    for run in reference_runs("compact_22"):
        right = (run.predictions == run.labels)[np.argsort(-run.probabilities.max(axis=1))]
        shares = [right[:len(right) * part // 5].mean() for part in range(1, 6)]
        if shares != sorted(shares, reverse=True):
            return False
    return True


COUNTED = {
    "*Fear* is mostly called by other names": fear_is_missed,
    "it still rises a little and jumps": accuracy_rises_and_jumps,
    "Some of the largest gains cost nothing": one_rung_gains_and_costs_nothing,
    "The small networks pass the report": lambda: np.mean(
        [run.accuracy for run in reference_runs("compact_10")]) > printed()["accuracy"]["final"],
    "The fewer images it answers, the more often it is right": silence_pays,
}
RULES = {"Exercise: recall and precision of *fear*", "Two spreads", "The answer in one picture",
         "Does a network recognise them?",
         "How many test images are known from training?", "How many seeds does it take?"}
SAID = [(COURSE / "README.md").read_text(encoding="utf-8"),
        *(step.get(key, "") for step in TABLE["step"] for key in ("ask", "then", "notes"))]


@pytest.mark.parametrize("sentence", [*GUARDED, *COUNTED])
def test_what_readme_and_slides_say_holds_for_the_runs_that_come_with_the_course(sentence):
    assert any(sentence in text for text in SAID), "nobody says so"
    if sentence in COUNTED:
        assert COUNTED[sentence]()
    else:
        number, words = GUARDED[sentence]
        assert any(re.search(f'assert .*# .*"{re.escape(words)}"', cell.source)
                   for cell in notebook_files.code_cells(number))


def test_every_slide_with_a_picture_of_our_runs_is_guarded():
    """The others state a rule, or what the picture is drawn from."""
    for step in TABLE["step"]:
        if (COURSE / "figures" / "fer2013" / f"{step.get('shows')}.png").is_file():
            assert step["title"] in RULES or any(
                sentence in step.get("ask", "") + step["then"]
                for sentence in [*GUARDED, *COUNTED]), step


# Sheets, and the check of pre-commit


@pytest.mark.parametrize("name", make_sheets.SHEETS)
def test_a_sheet_is_a_page_and_its_words_stay_on_it(name):
    figure = make_sheets.SHEETS[name]()
    assert tuple(figure.get_size_inches()) == make_sheets.A4
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.findobj(Text)
             if text.get_visible() and text.get_text().strip()]
    width, height = figure.canvas.get_width_height()
    assert all(box.x0 > 0 and box.x1 < 0.98 * width and box.y0 > 0 and box.y1 < height
               for box in boxes)
    assert make_sheets.LICENCE in "".join(text.get_text() for text in figure.findobj(Text))


def test_the_sheets_agree_with_the_notebooks():
    parts = make_sheets.convolution(make_sheets.SQUARE)
    third, sources = ("\n".join(cell.source for cell in notebook_files.read(number).cells)
                      for number in (3, 4))
    assert f"nine = {parts['after max pooling'].tolist()}" in third
    given = re.search(r"^three_faces = (\{.*?\})$", sources, re.MULTILINE | re.DOTALL)[1]
    assert all((eval(given, {"laboratory": laboratory})[name] == face).all()
               for name, face in THREE_FACES.items())
    assert str(make_sheets.MATRIX.to_numpy().tolist()) in sources
    assert f"pd.Series({make_sheets.HISTORIES['A']}, " in sources
    assert [make_sheets.stop(losses) for losses in make_sheets.HISTORIES.values()] == [
        (6, 3), (8, 5), (20, 18)]


def test_the_hint_of_the_convolution_sheet_is_true():
    """Equal pixels below the filter give equal sums; equal rows of the image need not."""
    square, sums = make_sheets.SQUARE, make_sheets.convolution(make_sheets.SQUARE)["sums"]
    around = np.pad(square, 1)
    kinds = {}
    for i, j in np.ndindex(6, 6):
        kinds.setdefault(around[i:i + 3, j:j + 3].tobytes(), set()).add(sums[i, j])
    assert all(len(found) == 1 for found in kinds.values())
    text = "".join(one.get_text() for one in make_sheets.sheet_convolution().findobj(Text))
    assert f"of 36 places {len(kinds)} differ" in " ".join(text.split())
    assert (square[0] == square[1]).all() and (sums[0].max(), sums[1].max()) == (0, 1)
    bar = lesson.convolution(lesson.BAR)["sums"]
    assert (bar[1, 1], bar[1, 4]) == (3, -3)
    for said in ("their sums are 0 and 1", "so 3. In the fifth column: three rows 1 0 0, so −3"):
        assert any(said in step["notes"] for step in TABLE["step"])


def test_the_homework_has_the_verdicts_of_notebook_9():
    text = (COURSE / "docs" / "homework.md").read_text(encoding="utf-8")
    verdicts = re.findall(r"^- \*\*(.+?)\*\*:", sections(9)["What a verdict means"], re.MULTILINE)
    assert len(verdicts) == 8 and all(f"*{verdict}*" in text for verdict in verdicts)


@pytest.mark.parametrize(("counts", "outputs", "found"), [
    ([1, 2], [{"output_type": "stream"}], []),
    ([1, 2], [], ["no outputs"]),
    ([2, 1], [{"output_type": "stream"}], ["top to bottom"]),
    ([1, 2], [{"output_type": "error", "ename": "E", "evalue": "v"}], ["an error: E: v"]),
])
def test_pre_commit_refuses_a_notebook_without_its_outputs(counts, outputs, found):
    cells = [{"cell_type": "code", "execution_count": count, "outputs": [], "metadata": {}}
             for count in counts]
    cells[-1]["outputs"] = outputs
    control = {"cell_type": "code", "execution_count": None, "outputs": [],
               "metadata": {"tags": ["skip-execution"]}}
    faults = check_outputs.faults({"cells": [control, *cells]})
    assert len(faults) == len(found)
    assert all(part in fault for part, fault in zip(found, faults, strict=True))
    control["outputs"] = [{"output_type": "display_data"}]
    assert any("control" in fault for fault in check_outputs.faults({"cells": [control, *cells]}))
