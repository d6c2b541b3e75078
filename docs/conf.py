"""Settings of the site that `make site` builds from the folder above (Sphinx, myst-nb, Furo)."""

import json
from pathlib import Path

project = "Facial emotions"
html_title = "Facial emotions: a reproduction"

# The folder above is the source, so a link that works on a forge works in the site, too.
root_doc = "README"
include_patterns = ["README.md", "data/README.md", "figures/README.md", "docs/*.md",
                    "notebooks/*.ipynb"]
exclude_patterns = [".*", "build", "runs", "data/f*"]  # no need to search these folders

extensions = ["myst_nb"]
nb_execution_mode = "off"  # the notebooks are shown as they are committed
nb_merge_streams = True  # one box for what a cell prints, and not one for each line
nb_ipywidgets_js = {}  # a page shows figures, not controls: nothing to load for them
myst_heading_anchors = 2  # a link may lead to a section

html_theme = "furo"
html_static_path = html_css_files = ["site.css"]
html_copy_source = False
copyright = "2026, the authors of this course. Text, slides and figures: CC BY 4.0. Code: MIT"
html_show_search_summary = False  # it would need a web server

PARTS = {
    "Part I, the report": ["notebooks/0[1-5]*"],
    "Part II, beyond the report": ["notebooks/[01][06-9]*"],
    "Beside the notebooks": ["docs/students", "docs/quiz", "docs/homework", "docs/teacher",
                             "docs/glossary", "docs/model_cards", "data/README", "docs/data",
                             "docs/speed", "docs/gpu", "docs/platforms", "figures/README"],
}


def setup(app):
    """Give the README the contents of the site, pictures their text, the site an index.html."""
    app.connect("source-read", complete)
    app.connect("build-finished", lambda app, error: Path(app.outdir, "index.html").write_text(
        '<meta http-equiv="refresh" content="0; url=README.html">', "utf-8"))


def complete(app, name, text):
    """Change the source of a page as it is read: ``text`` is a list with one string."""
    if name == root_doc:
        text[0] += "".join(f"\n```{{toctree}}\n:hidden:\n:glob:\n:caption: {part}\n"
                           + "\n".join(pages) + "\n```\n" for part, pages in PARTS.items())
    elif name.startswith("notebooks/"):
        notebook = json.loads(text[0])
        for cell in notebook["cells"]:
            if "alt" in cell["metadata"]:  # where nbconvert looks for it; myst-nb looks here
                cell["metadata"]["mystnb"] = {"image": {"alt": cell["metadata"]["alt"]}}
        text[0] = json.dumps(notebook)
