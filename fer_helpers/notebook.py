"""What the notebooks show besides figures and tables."""

import inspect
import re
import textwrap

import numpy as np
import pandas as pd
from IPython.display import HTML, Markdown

from fer_helpers.dataset import Dataset


def banner(dataset: Dataset) -> Markdown:
    """Say which dataset this notebook is running on, and what to do about it."""
    if dataset.is_fixture:
        return Markdown(
            "> **This notebook is running on the fixture**: a few hundred *drawn* faces that come "
            "with the course, in the layout of FER-2013. It shows how everything works; its "
            "numbers say nothing about real faces. To run on FER-2013, follow `data/README.md` "
            "and run the notebook again.")
    return Markdown(
        f"> **This notebook is running on the dataset** `{dataset.name}`. "
        f"{dataset.identity.sentence} The outputs may show real faces: do not commit or share "
        "them.")


def show_table(frame: pd.DataFrame) -> HTML:
    """Show a table of text: aligned left, whole sentences, without the row labels."""
    with pd.option_context("display.max_colwidth", None):
        table = frame.to_html(index=False, border=0)
    # The style stands in each cell, because a forge drops style sheets.
    for cell in ("th", "td"):
        table = table.replace(f"<{cell}>", f'<{cell} style="text-align: left">')
    return HTML(table)


def show_source(*functions) -> Markdown:
    """Show the source of helper functions, as it is now, with the first line of each docstring."""
    sources = [textwrap.dedent(inspect.getsource(function)).rstrip() for function in functions]
    short = [re.sub(r'("""[^\n]*)\n.*?"""', r'\1"""', source, count=1, flags=re.DOTALL)
             for source in sources]
    # As Markdown, it has the colours of the page that it stands on, dark or light.
    return Markdown("```python\n" + "\n\n\n".join(short) + "\n```")


def check(answer, right, hint: str, wrong: dict | None = None) -> None:
    """Say whether the answer to an exercise is right, or not yet, and why.

    Answers are numbers, texts, or lists of them. Whole numbers must be exact, others to 1 %
    (to 5 % is *nearly*). ``wrong``: what to say about a known mistake, and what it leads to.
    """
    mistakes = [why for why, known in (wrong or {}).items() if _same(answer, known)]
    share = np.asarray(right)
    if share.dtype.kind == "f" and (abs(share) <= 1).all() and _same(answer, 100 * share):
        mistakes.append("That is a percent. Write a share, from 0 to 1.")
    if _same(answer, right, rough=0.05):
        mistakes.append("Nearly: give more digits, or write the calculation.")
    if answer is None:
        print("Not yet: write your answer above, in place of None, and run both cells. "
              f"Hint: {hint}")
    elif _same(answer, right):
        print("Right.")
    else:
        print(f"Not yet. {mistakes[0] if mistakes else f'Hint: {hint}'}")


def _same(answer, expected, rough: float = 0.01) -> bool:
    expected = np.asarray(expected)
    try:
        if expected.dtype.kind not in "iuf":  # text
            answer, expected = ([str(part).strip().lower() for part in np.ravel(texts)]
                                for texts in (answer, expected))
            return answer == expected
        answer, rough = np.asarray(answer, float), rough * (expected.dtype.kind == "f")
        return answer.shape == expected.shape and np.allclose(answer, expected, rough, 1e-9)
    except Exception:  # an answer can be anything
        return False
