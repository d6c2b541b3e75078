"""Settings of the pages that `make site` and `make notebooks` build (Sphinx, myst-nb, Furo)."""

import json
import re
from pathlib import Path

from docutils import nodes

project = "Facial emotions"
html_title = "Facial emotions: a reproduction"

# The folder above is the source, so a link that works on a forge works in the site, too.
root_doc = "README"
include_patterns = ["README.md", "data/README.md", "figures/README.md", "docs/*.md",
                    "notebooks/*.ipynb"]
exclude_patterns = [".*", "build", "runs", "data/f*"]  # no need to search these folders

extensions = ["myst_nb", "sphinx_copybutton"]
nb_execution_mode = "off"  # the notebooks are shown as they are committed, or as they were run
nb_merge_streams = True  # one box for what a cell prints, and not one for each line
nb_ipywidgets_js = {}  # a page shows figures, not controls: nothing to load for them
myst_heading_anchors = 2  # a link may lead to a section

html_theme = "furo"
html_favicon = "favicon.svg"
html_static_path = ["site.css", "site.js"]
html_css_files, html_js_files = ["site.css"], [("site.js", {"defer": "defer"})]
copybutton_selector = "div.highlight:not(.cell_output *) > pre"  # code, and not what it prints
html_copy_source = False
copyright = "2026, the authors of this course. Text, slides and figures: CC BY 4.0. Code: MIT"
html_show_search_summary = False  # it would need a web server

PARTS = {
    "Part I, the report": ["notebooks/0[1-5]*"],
    "Part II, beyond the report": ["notebooks/0[6-9]*", "notebooks/1*"],
    "Beside the notebooks": ["docs/students", "docs/quiz", "docs/homework", "docs/teacher",
                             "docs/glossary", "docs/model_cards", "data/README", "docs/data",
                             "docs/speed", "docs/gpu", "docs/platforms", "figures/README"],
}

BOX = '<div class="alert alert-info">\n\n'  # of an exercise, in JupyterLab


def setup(app):
    """Complete what is read, let figures enlarge, give the site an index.html."""
    app.add_config_value("run_here", False, "env")  # -D run_here=1: show copies that were run here
    app.connect("source-read", complete)
    app.connect("doctree-resolved", enlarge)
    app.connect("html-page-context", level, priority=900)  # after the theme
    app.connect("build-finished", lambda app, error: Path(app.outdir, "index.html").write_text(
        '<!doctype html><html lang="en"><title>Facial emotions</title>'
        '<meta http-equiv="refresh" content="0; url=README.html">'
        '<a href="README.html">Facial emotions</a>', "utf-8"))


def complete(app, name, text):
    """Change the source of a page as it is read: ``text`` is a list with one string.

    README gets the contents of the site. In a notebook, pictures get their text, exercises a box,
    and the page a link to the file.
    """
    if name == root_doc:  # without the badges: their pictures lie in the network
        text[0] = re.sub("<!-- badges -->.*<!-- /badges -->\n", "", text[0], flags=re.DOTALL)
        text[0] += "".join(f"\n```{{toctree}}\n:hidden:\n:glob:\n:caption: {part}\n"
                           + "\n".join(pages) + "\n```\n" for part, pages in PARTS.items())
    elif name.startswith("notebooks/"):
        path = app.env.doc2path(name)
        if app.config.run_here:
            copy = path.parent.parent / "build" / path.name
            app.env.note_dependency(copy)
            if copy.exists() and copy.stat().st_mtime >= path.stat().st_mtime:
                path = copy
        notebook = json.loads(path.read_text("utf-8"))
        for cell in notebook["cells"]:
            if "alt" in cell["metadata"]:  # where nbconvert looks for it; myst-nb looks here
                cell["metadata"]["mystnb"] = {"image": {"alt": cell["metadata"]["alt"]}}
            source = "".join(cell["source"]).removeprefix(BOX).removesuffix("\n\n</div>")
            if source.startswith("**Exercise: "):
                title, _, task = source.removeprefix("**").partition("**")
                cell["source"] = (f"````{{admonition}} {title.rstrip('.')}\n:class: exercise\n\n"
                                  f"{task.strip()}\n````")
        first = notebook["cells"][0]
        file = path.relative_to(app.srcdir).as_posix()
        first["source"] = ["".join(first["source"]),
                           f"\n\n{{download}}`Download this notebook </{file}>`"]
        text[0] = json.dumps(notebook)


def enlarge(app, tree, name):
    """Make each picture a link to its file, where a browser shows it in full size."""
    for image in list(tree.findall(nodes.image)):
        file = app.env.images.get(image["uri"])
        if file and not isinstance(image.parent, nodes.reference):
            link = nodes.reference("", "", refuri="../" * name.count("/") + f"_images/{file[1]}",
                                   classes=["enlarge"])
            image.replace_self(link)
            link += image


def level(app, page, template, context, tree):
    """Say of which level the headings of the contents are; the theme leaves it out."""
    context["furo_navigation_tree"] = context.get("furo_navigation_tree", "").replace(
        'role="heading"', 'role="heading" aria-level="2"')
