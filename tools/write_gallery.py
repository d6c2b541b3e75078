"""Write figures/README.md: the report's figures in order, each with ours; then the course's own.

    python tools/write_gallery.py        # `make refresh` does it, too

Which notebook and section draws a figure is found in the notebooks, so it is always true.
"""

import re

import notebook_files

from fer_helpers.course import COURSE
from machinery.files import write_whole

GALLERY = COURSE / "figures" / "README.md"
# The report's figures: number, what it shows, what it printed, and what to find in ours: the names
# of pictures, or code that stands in a cell.
REPORT = [
    (1, "images of each class, after balancing", "2,999 and 599 of each class", ["fig01_counts"]),
    (2, "one training image of each class", "six faces", ["fig02_samples"]),
    (3, "the augmentation (a listing)", "rotation 30, shifts, shear and zoom 0.1, mirroring",
     ["fig03_each_parameter", "fig03_all_together"]),
    (4, "the final network (a listing)", "six convolutions, L2 of 0.01 on four of them",
     ["show_source(models.conv_block, models.build_final"]),
    (5, "how it is compiled (a listing)", "Adam, 0.0001, categorical cross-entropy",
     ["training.Settings(epochs=20"]),
    (6, "how it is trained (a listing)", "20 epochs of 281 steps, patience 3",
     ["training.train(\n    models.build_final"]),
    (7, "the log of 20 epochs", "from 0.1671 to 0.5516, best in epoch 18",
     ["report.printed_log()"]),
    (8, "how it is evaluated (a listing)", "57 steps, accuracy 0.4665, loss 1.4446",
     ["evaluation.confusion_matrix(run.labels"]),
    (9, "the baseline's layers", "4,758,944 parameters", ["fig09_baseline_layers"]),
    (10, "the baseline's curves", "accuracy and loss of 20 epochs", ["fig10_baseline_curves"]),
    (11, "the baseline's confusion matrix and report", "47.22 % right",
     ["fig11_baseline_confusion"]),
    (12, "the final network's layers", "several numbers misprinted", ["fig12_final_layers"]),
    (13, "the final network's curves", "accuracy and loss of 20 epochs",
     ["fig13_final_curves", "fig13_final_loss_parts"]),
    (14, "its confusion matrix and report", "55.34 % right",
     ["fig14_final_confusion", "fig14_final_pairs"]),
    (15, "predictions for 20 test images", "13 of 20 right", ["fig15_final_predictions"]),
    (16, "the curves with 512 filters", "53.09 % right",
     ["fig16_ablation_curves", "fig16_two_spreads", "fig16_answer"]),
]


def places() -> list[tuple[str, str, str, str]]:
    """Return of each code cell: source, notebook, the heading above it, its picture's text."""
    found = []
    for name in notebook_files.NAMES:
        heading = ""
        for cell in notebook_files.read(name).cells:
            if cell.cell_type == "markdown":
                heading = [heading, *re.findall(r"^##? (.*)$", cell.source, re.MULTILINE)][-1]
            else:
                found.append((cell.source, name, heading, cell.metadata.get("alt", "")))
    return found


def place_of(what: str, cells) -> tuple[str, str, str]:
    """Return the notebook, the section and the text of the cell in which ``what`` stands."""
    exact = f'"{what}"' if re.fullmatch(r"\w+", what) else what
    for source, *place in cells:
        if exact in source:
            return tuple(place)
    raise LookupError(f"{what} is in no notebook. Correct REPORT in tools/write_gallery.py.")


def picture(path, cells) -> str:
    """Return a picture with its sentence, and where it is drawn."""
    notebook, section, text = place_of(path.stem, cells)
    return (f"![{text}]({path.relative_to(GALLERY.parent).as_posix()})\n\n*{text}* "
            f"Notebook [{int(notebook[:2])}](../notebooks/{notebook}.ipynb), {section}.")


def gallery() -> str:
    """Return the page."""
    cells = places()
    pictures: dict[str, list] = {}
    for path in sorted(GALLERY.parent.glob("*/*.png")):
        if not path.stem.endswith(("_here", "_faces")):
            pictures.setdefault(path.stem, []).append(path)
    parts = ["# The figures\n\nThe report's figures by number, each with ours; then "
             "[the course's own](#the-courses-own). What is drawn on *fixture* shows drawn faces."]
    used = set()
    for number, what, printed, ours in REPORT:
        parts.append(f"## Figure {number}: {what}\n\nThe report: {printed}.")
        for name in ours:
            if name in pictures:
                parts += [picture(path, cells) for path in pictures[name]]
                used.add(name)
            else:
                notebook, section, _ = place_of(name, cells)
                parts.append(f"Ours: notebook [{int(notebook[:2])}](../notebooks/{notebook}.ipynb),"
                             f" {section}.")
    parts.append("## The course's own")
    parts += [picture(path, cells) for name, paths in pictures.items() if name not in used
              for path in paths]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    write_whole(GALLERY, gallery().encode())
