"""Make the slides from docs/lesson.toml: build/slides/index.html for an hour, and other plans.

    python tools/make_slides.py        # `make slides` does it

A slide shows its question first, at the next key its picture, and then its sentence. The pictures
are those of figures/, with the text that their cell in the notebook has for who cannot see them.
Key S opens the speaker's notes with a clock; `?print-pdf` behind the address makes pages to print.
"""

import html
import shutil
import sys
from pathlib import Path

import jinja2
import matplotlib.pyplot as plt
import notebook_files
import sphinx_revealjs
from drawings import DRAWN
from lesson import LICENCE, facts, lesson, steps
from nbconvert.filters import markdown2html
from PIL import Image

from fer_helpers.course import COURSE
from machinery.files import CourseError

TOOLS = Path(__file__).resolve().parent
REVEAL = Path(sphinx_revealjs.__file__).parent / "_static" / "revealjs"
BUILD = COURSE / "build" / "slides"


def words(step: dict) -> str:
    """Return the text for who cannot see a step's picture: its cell's, or that of the drawing."""
    if step["shows"] in DRAWN:
        return DRAWN[step["shows"]][1]
    found = [cell for cell in notebook_files.code_cells(step["notebook"]) if "alt" in cell.metadata
             and any(f"{quote}{step['shows']}{end}" in cell.source
                     for quote in '"\'' for end in '"\'{')]
    real = [cell for cell in found if "dataset.name" not in cell.source]
    if not found:
        raise CourseError(f"docs/lesson.toml: no cell of notebook {step['notebook']} saves "
                          f"{step['shows']} and has a text for it. Correct `shows`, or add `alt`.")
    return (real or found)[0].metadata["alt"]


def picture(step: dict, folder: Path) -> Path:
    """Put a step's picture into the folder: drawn here, or taken from figures/, maybe a part."""
    path = folder / f"{step['shows']}.png"
    if step["shows"] in DRAWN:
        figure = DRAWN[step["shows"]][0]()
        figure.savefig(path)
        plt.close(figure)
        return path
    files = [COURSE / "figures" / name / path.name for name in ("fer2013", "fixture", "none")]
    if not (there := [file for file in files if file.is_file()]):
        raise CourseError(f"docs/lesson.toml: figures/ has no {path.name}. Correct `shows`.")
    image = Image.open(there[0])
    left, top, right, bottom = step.get("part", (0, 0, 1, 1))
    image.crop((round(left * image.width), round(top * image.height),
                round(right * image.width), round(bottom * image.height))).save(path)
    return path


def html_of(text: str, *, inline: bool = False) -> str:
    """Return Markdown as HTML; ``inline``: a single line, without its paragraph."""
    made = markdown2html(text.replace(" %", "\N{NBSP}%"))
    return made.strip().removeprefix("<p>").removesuffix("</p>") if inline else made


def deck(table: dict, plan: int, folder: Path) -> str:
    """Return the page of one plan; its pictures go into the folder."""
    computed, lessons = facts(), []
    for about in table["plan"][plan]["lesson"]:
        slides = []
        for step in (shown := steps(table, plan, about)):
            said = {key: html_of(step[key].format_map(computed), inline=key == "title")
                    for key in ("title", "ask", "then", "notes") if key in step}
            if "shows" in step:
                said["picture"] = picture(step, folder).name
                said["alt"] = html.escape(words(step))
            slides.append(step | said | {
                "clock": f"{int(step['start']):02}:{round(step['start'] % 1 * 60):02}"})
        objectives = [html_of(goal, inline=True) for goal in about["objectives"]]
        lessons.append(about | {"slides": slides, "objectives": objectives,
                                "homework": html_of(shown[-1]["ask"], inline=True)})
    template = jinja2.Template((TOOLS / "slides" / "index.html.j2").read_text(encoding="utf-8"))
    return template.render(plan=table["plan"][plan], lessons=lessons, licence=LICENCE)


def main() -> int:
    """Write the pages, and beside them all that they load: all of it or nothing."""
    table, new = lesson(), BUILD.with_name(f"{BUILD.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    shutil.copytree(REVEAL, new / "reveal", ignore=shutil.ignore_patterns("*.map", "*.esm.js"))
    shutil.copy(TOOLS / "slides" / "slides.css", new)
    (new / "pictures").mkdir()
    for number, plan in enumerate(table["plan"]):
        try:
            page = deck(table, number, new / "pictures")
        except CourseError as error:
            sys.exit(str(error))
        (new / f"{plan['file']}.html").write_text(page, encoding="utf-8")
        print(f"build/slides/{plan['file']}.html: {plan['name']}")
    shutil.rmtree(BUILD, ignore_errors=True)
    new.rename(BUILD)
    print("Open one in a browser; S opens the notes, ?print-pdf prints. No internet is needed.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
