"""Make the slides of Part I from its notebooks: build/slides/index.html, for an hour, offline.

    python tools/make_slides.py        # `make slides` does it

A cell with the metadata ``slide`` becomes a slide. ``title`` and ``ask`` stand above what the cell
shows, ``then`` appears below it at the next key, and ``notes`` are for the speaker (key S). Their
``minutes`` add up to a clock. All other cells are left out.
"""

import shutil
import sys
from pathlib import Path

import nbformat
import sphinx_revealjs
from nbconvert import SlidesExporter
from nbformat.v4 import new_markdown_cell, new_notebook

TOOLS = Path(__file__).resolve().parent
NOTEBOOKS = sorted((TOOLS.parent / "notebooks").glob("0[1-5]*.ipynb"))
REVEAL = Path(sphinx_revealjs.__file__).parent / "_static" / "revealjs"
BUILD = TOOLS.parent / "build" / "slides"
WIDTH, HEIGHT = 1280, 720


def slides(notebook) -> list:
    """Return the cells that have a slide's metadata."""
    return [cell for cell in notebook.cells if "slide" in cell.metadata]


def markdown(text: str, kind: str):
    """Return a cell of words; ``kind`` is as in JupyterLab: slide, fragment or notes."""
    return new_markdown_cell(text, metadata={"slideshow": {"slide_type": kind}})


def shown(cell):
    """Return the cell as its slide shows it: its outputs, but for names of files; no words."""
    cell.metadata["slideshow"] = {"slide_type": "-"}
    if cell.cell_type == "code":
        pictures = any("image/png" in output.get("data", {}) for output in cell.outputs)
        cell.outputs = [output for output in cell.outputs
                        if not (pictures and list(output.get("data", {})) == ["text/plain"])]
    else:
        cell.source = ""
    return cell


def deck(notebooks: list) -> nbformat.NotebookNode:
    """Put the slides of some notebooks into one, with the clock in the notes."""
    cells, clock = [], 0.0
    for cell in (cell for notebook in notebooks for cell in slides(notebook)):
        said = cell.metadata["slide"]
        level = "#" if said.get("opens") else "##"
        head = f"{level} {said['title']}\n\n{said.get('ask', '')}"
        cells += [markdown(head, "slide"), shown(cell)]
        start = f"{int(clock):02}:{round(clock % 1 * 60):02}"
        cells.append(markdown(f"**From {start}, for {said['minutes']:g} min.** {said['notes']}",
                              "notes"))  # before the fragment: inside, it would come with it
        if "then" in said:
            cells.append(markdown(said["then"], "fragment"))
        clock += said["minutes"]
    for number, cell in enumerate(cells):  # each notebook counts its cells from one
        cell["id"] = f"part-{number}"
    return new_notebook(cells=cells, metadata={"title": "Facial emotions"})


def main() -> int:
    """Write the page, and beside it all that it loads."""
    shutil.rmtree(BUILD, ignore_errors=True)
    shutil.copytree(REVEAL, BUILD / "reveal", ignore=shutil.ignore_patterns("*.map", "*.esm.js"))
    shutil.copy(TOOLS / "slides" / "slides.css", BUILD)
    exporter = SlidesExporter(
        template_name="slides", extra_template_basedirs=[str(TOOLS)], exclude_input=True,
        exclude_input_prompt=True, exclude_output_prompt=True, reveal_url_prefix="reveal",
        reveal_theme="white", reveal_width=str(WIDTH), reveal_height=str(HEIGHT))
    page, _ = exporter.from_notebook_node(
        deck([nbformat.read(path, as_version=4) for path in NOTEBOOKS]))
    (BUILD / "index.html").write_text(page, encoding="utf-8")
    print("Open build/slides/index.html in a browser; S opens the notes. No network is needed.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
