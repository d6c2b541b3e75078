"""The notebooks, as other programs and the tests read them."""

import functools
from pathlib import Path

import nbformat

from fer_helpers.course import COURSE

NAMES = sorted(path.stem for path in (COURSE / "notebooks").glob("*.ipynb"))


def path_of(which: int | str) -> Path:
    """Return the file of a notebook: of its number, such as 9, or the beginning of its name."""
    start = which if isinstance(which, str) else f"{which:02}_"
    return COURSE / "notebooks" / f"{next(name for name in NAMES if name.startswith(start))}.ipynb"


@functools.cache
def read(which: int | str) -> nbformat.NotebookNode:
    """Read a notebook, once."""
    return nbformat.read(path_of(which), as_version=4)


def texts(which: int | str) -> list[str]:
    """Return the text cells of a notebook."""
    return [cell.source for cell in read(which).cells if cell.cell_type == "markdown"]


def code_cells(which: int | str) -> list[nbformat.NotebookNode]:
    """Return the code cells of a notebook, without the controls, which are for JupyterLab alone."""
    return [cell for cell in read(which).cells if cell.cell_type == "code"
            and "control" not in cell.metadata.get("tags", [])]
