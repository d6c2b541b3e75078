"""The pages beside the notebooks: a glossary in order, no result typed in, and one lesson."""

import functools
import itertools
import re

import check_outputs
import lesson
import make_sheets
import nbformat
import numpy as np
import pandas as pd
import pytest
from drawings import DRAWN, THREE_FACES
from matplotlib.text import Text
from scipy import stats

from experiments import laboratory
from fer_helpers.course import COURSE, EMOTIONS
from fer_helpers.identity import images
from fer_helpers.runs import design_difference, reference_runs

GLOSSARY = (COURSE / "docs" / "glossary.md").read_text(encoding="utf-8")


def rows(text):
    """Return the rows of the glossary: term, notebook, sentence, Catalan, Spanish."""
    line = r"^\| \[([^]]+)\]\(\.\./notebooks/([^)]+)\) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$"
    return re.findall(line, text, re.MULTILINE)


@functools.cache
def prose(notebook):
    """Return the words of a notebook: no code, no marks, one line, lower case."""
    cells = nbformat.read(COURSE / "notebooks" / notebook, as_version=4).cells
    text = " ".join(cell.source for cell in cells if cell.cell_type == "markdown")
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


def headings(number):
    cells = nbformat.read(lesson.notebook_path(number), as_version=4).cells
    return re.findall(r"^#+ (.*)$", "\n".join(cell.source for cell in cells
                                              if cell.cell_type == "markdown"), re.MULTILINE)


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
    assert step["section"] in headings(step["notebook"])
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


def sections(number):
    """Return the sections of a notebook: what stands in each, code and text."""
    cells = nbformat.read(lesson.notebook_path(number), as_version=4).cells
    text = "\n\n".join(cell.source if cell.cell_type == "markdown" else
                       re.sub("^#", " #", cell.source, flags=re.MULTILINE) for cell in cells)
    parts = re.split(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


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
    "281. Ten images are left over": (2, "make 281 full batches of 64,\nand 10 images are left"),
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
    number, printed = QUOTED[said]
    assert any(said in step.get(key, "") for step in TABLE["step"] for key in ("then", "notes"))
    cells = nbformat.read(lesson.notebook_path(number), as_version=4).cells
    assert re.search(printed, "\n".join(
        output.get("text", "") + output.get("data", {}).get("text/plain", "")
        for cell in cells for output in cell.get("outputs", [])))


def test_the_pages_are_written_from_the_table():
    for page in lesson.PAGES:
        text = page.read_text(encoding="utf-8")
        assert lesson.filled(text) == text, f"{page.name}: make refresh writes it"
    assert lesson.filled("<!-- plan -->") != "<!-- plan -->"
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


# What a slide says about a picture of our runs


def accuracy(model):
    return np.mean([run.accuracy for run in reference_runs(model)])


def by_class(model):
    """Return recall and F1 of all runs of a model together, by class."""
    truth, said = (np.concatenate([getattr(run, name) for run in reference_runs(model)])
                   for name in ("labels", "predictions"))
    matrix = pd.crosstab(truth, said)
    hits = np.diag(matrix)
    return pd.DataFrame({"recall": hits / matrix.sum(axis=1), "f1": 2 * hits / (
        matrix.sum(axis=1) + matrix.sum(axis=0))}).set_axis(list(EMOTIONS))


def most_confused_pairs(runs):
    matrix = sum(pd.crosstab(run.labels, run.predictions).to_numpy() for run in runs)
    pairs = {(one, two): matrix[i, j] + matrix[j, i] for (i, one), (j, two)
             in itertools.combinations(enumerate(EMOTIONS), 2)}
    return sorted(pairs, key=pairs.get)


def votes():
    """Return the share of the vote for each of ten answers, image by image, a coin at ties."""
    table = images().set_index("path").loc[reference_runs("final")[0].ids]
    ten = table.loc[:, "neutral":"NF"]
    wins = ten.eq(ten.max(axis=1), axis=0)
    return table["emotion"], ten, wins.div(wins.sum(axis=1), axis=0)


NAMES = dict(zip(EMOTIONS, ["happiness", "sadness", "fear", "surprise", "neutral", "anger"],
                 strict=True))


def confirmed():
    emotion, _, wins = votes()
    own = pd.Series({i: wins.loc[i, NAMES[name]] for i, name in emotion.items()})
    return own.groupby(emotion).mean()


def instead(label):
    emotion, _, wins = votes()
    return list(wins[emotion == label].sum().sort_values(ascending=False).index)


def one_of_ten():
    emotion, ten, _ = votes()
    return np.mean([ten.loc[i, NAMES[name]] / ten.loc[i].sum() for i, name in emotion.items()])


def penalty():
    first = [run.history.iloc[0] for run in reference_runs("final")]
    return min(1 - one["cross_entropy"] / one["loss"] for one in first)


def coins():
    one, two = (run.predictions == run.labels for run in
                (reference_runs("final")[0], reference_runs("ablation")[0]))
    return stats.binomtest(int((one & ~two).sum()), int((one != two).sum())).pvalue


def ladder():
    table = pd.read_csv(COURSE / "data" / "reference" / "ladder.csv").set_index("rung")
    return table[table["change"].notna()]


def silence():
    found = []
    for run in reference_runs("compact_22"):
        right = (run.predictions == run.labels)[np.argsort(-run.probabilities.max(axis=1))]
        found.append([right[:len(right) * part // 10].mean() for part in (2, 4, 6, 8, 10)])
    return np.diff(found, axis=1)


SIX = images()[lambda table: table["emotion"].isin(EMOTIONS)]
HOLDS = {
    "*Disgust* goes first": lambda: images()["emotion"].value_counts().idxmin() == "disgust",
    "*surprise* is brighter than *sad*": lambda: np.diff(SIX.groupby("emotion")["brightness"]
                                                         .median()[["sad", "surprise"]]) > 10,
    "new ones do not follow: **overfitting**": lambda: all(
        run.about["train_accuracy"] - run.accuracy > 0.05 for run in reference_runs("baseline")),
    "*Happy* and *surprise* are easy": lambda: set(
        by_class("baseline")["f1"].nlargest(2).index) == {"happy", "surprise"},
    "*Fear* is mostly called by other names": lambda: by_class("baseline")["recall"]["fear"] < 0.5,
    "It **underfits**": lambda: all(
        run.about["train_accuracy"] - run.accuracy < 0.05 and run.about["train_accuracy"] < 0.65
        for run in reference_runs("final")),
    "*Sad* and *neutral*, in every seed": lambda: all(most_confused_pairs([run])[-1] == (
        "sad", "neutral") for run in reference_runs("final")),
    "Training and test lie close": lambda: all(
        (run.history["accuracy"] - run.history["val_accuracy"]).abs().iloc[-5:].mean() < 0.06
        for run in reference_runs("final")),
    "Most of it is **penalty**": lambda: penalty() > 0.5,
    "*Sad* is in the three longest bars": lambda: all("sad" in pair for pair in (
        most_confused_pairs(reference_runs("final"))[-3:])),
    "*Happy* is nearly always confirmed, *fear* seldom": lambda: (
        confirmed()["happy"] > 0.85 and confirmed()["fear"] < 0.25),
    "For *fear*, *neutral* and *sad* come before": lambda: instead("fear")[:2] == [
        "neutral", "sadness"],
    "for *sad*, *neutral* comes first": lambda: instead("sad")[0] == "neutral",
    "One person is right a little less often than the final model": lambda: 0 < (
        accuracy("final") - one_of_ten()) < 0.05,
    "Ten who vote are right more often": lambda: confirmed().mean() > accuracy("final") + 0.01,
    "Chance alone often does as much": lambda: coins() > 0.2,
    "The bars of final and ablation overlap": lambda: np.prod(design_difference(
        reference_runs("final"), reference_runs("ablation"))[["low", "high"]]) < 0,
    "Smaller images lose points at first": lambda: (
        ladder()["both_ways"][2] < ladder()["both_ways"][1] - 0.03),
    "Some of the largest gains cost nothing": lambda: (
        ladder()["both_ways"][4] > ladder()["both_ways"][3] + 0.04
        and ladder()["compute"][4] < ladder()["compute"][3] * 1.02),
    "The small networks pass the report": lambda: accuracy("compact_10") > 0.5534,
    "The fewer images it answers, the more often it is right": lambda: (silence() < 0).all(),
}
RULES = {"Exercise: recall and precision of *fear*", "Two spreads", "The answer in one picture",
         "Does a network recognise them?",
         "How many test images are known from training?", "How many seeds does it take?"}


@pytest.mark.parametrize("sentence", HOLDS)
def test_what_a_slide_says_holds_for_the_runs_that_come_with_the_course(sentence):
    assert any(sentence in step[key] for step in TABLE["step"] for key in ("ask", "then")
               if key in step), "no slide says so"
    assert HOLDS[sentence]()


def test_every_slide_with_a_picture_of_our_runs_is_guarded():
    """The others state a rule, or what the picture is drawn from."""
    for step in TABLE["step"]:
        if (COURSE / "figures" / "fer2013" / f"{step.get('shows')}.png").is_file():
            assert step["title"] in RULES or any(
                sentence in step[key] for sentence in HOLDS for key in ("ask", "then")), step


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
    assert f"nine = {parts['after max pooling'].tolist()}" in "".join(
        cell.source for cell in nbformat.read(lesson.notebook_path(3), as_version=4).cells)
    sources = "\n".join(cell.source
                      for cell in nbformat.read(lesson.notebook_path(4), as_version=4).cells)
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
    assert any("their sums are 0 and 1" in step["notes"] for step in TABLE["step"])


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
