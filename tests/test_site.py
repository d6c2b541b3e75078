"""The site and the slides: links lead somewhere, and nothing is loaded from the network."""

import html
import itertools
import json
import os
import re
import runpy
import time
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import make_slides
import pytest
from bs4 import BeautifulSoup
from lesson import facts, lesson, steps
from notebook_files import NAMES
from PIL import Image

from fer_helpers.course import COURSE
from machinery.files import CourseError

TABLE, FACTS = lesson(), facts()
OUTSIDE = re.compile(r"(?:[a-z]+:)?//", re.IGNORECASE)


class Page:
    """What a page loads, where it links to, and the places in it that a link may name."""

    def __init__(self, path):
        self.path, page = path, BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
        self.links, self.loads = ([tag[name] for tag in page.select(chosen) for name in (
            "src", "srcset", "href", "data", "action") if tag.get(name)] for chosen in (
                "a", ":not(a)"))
        self.places = {"", *(tag["id"] for tag in page.select("[id]"))}
        self.loose = [address for tag in page.select("style, [style]")
                      for address in loaded_by_style(tag.get("style") or tag.text)]
        # what pictures say to those who do not see them
        self.texts = [tag.get("alt", "") for tag in page.select("img")]


def loaded_by_style(text):
    """Find what a style sheet loads from another place than its own folder."""
    found = re.findall(r"""(?:url\(|@import)\s*["']?([^"')\s;]+)""", text)
    return [address for address in found if OUTSIDE.match(address)]


@pytest.fixture(scope="module")
def pages(site):
    return {path.resolve(): Page(path) for path in site.rglob("*.html")}


def inner(page, address):
    """Return the file and the place in it that an address of this site means; None if outside."""
    if OUTSIDE.match(address) or address.startswith(("mailto:", "data:", "javascript:")):
        return None
    parts = urlsplit(address)
    path = page.path.parent / unquote(parts.path) if parts.path else page.path
    return path.resolve(), unquote(parts.fragment)


def broken(page, pages):
    """Find the addresses in a page that lead nowhere."""
    found = []
    for address in page.links + page.loads:
        if (target := inner(page, address)) is None:
            continue
        path, place = target
        if not path.is_file() or (path in pages and place not in pages[path].places):
            found.append(address)
    return found


def from_outside(page):
    """Find what a page loads from the network when it is opened."""
    return [address for address in page.loads if OUTSIDE.match(address)] + page.loose


def test_all_pages_are_there_in_the_order_of_the_course(site, pages):
    sources = [path.relative_to(COURSE) for pattern in ("docs/*.md", "notebooks/*.ipynb")
               for path in COURSE.glob(pattern)]
    for source in ["index.md", "README.md", "search.md", "data/README.md", *sources]:
        assert (site / source).with_suffix(".html").resolve() in pages, source
    assert "README.html" in (site / "index.html").read_text("utf-8")
    for one, following in itertools.pairwise(NAMES):
        page = pages[(site / "notebooks" / f"{one}.html").resolve()]
        assert f"{following}.html" in page.links
    first = pages[(site / "notebooks" / f"{NAMES[0]}.html").resolve()]
    assert any(address.startswith("../_images/") for address in first.loads), "the figures"


def test_every_link_inside_leads_somewhere(pages):
    found = {page.path.name: broken(page, pages) for page in pages.values()}
    assert not {name: wrong for name, wrong in found.items() if wrong}


def test_notebooks_link_to_pages_and_not_to_files_of_jupyter(pages):
    """But the notebook itself can be downloaded."""
    inside = [address for page in pages.values() for address in page.links
              if inner(page, address) and "_downloads/" not in address]
    assert not [address for address in inside if urlsplit(address).path.endswith((".ipynb", ".md"))]
    audit = next(page for path, page in pages.items() if path.stem == "01_data_audit")
    assert "06_copies.html" in audit.links
    [file] = [path for path, _ in (inner(audit, address) for address in audit.links
                                   if address.endswith(".ipynb"))]
    assert file.read_bytes() == (COURSE / "notebooks" / file.name).read_bytes()


def test_pages_load_nothing_from_the_network(site, pages):
    found = {page.path.name: from_outside(page) for page in pages.values()}
    assert not {name: loaded for name, loaded in found.items() if loaded}
    for path in site.rglob("*.css"):
        assert loaded_by_style(path.read_text(encoding="utf-8")) == [], path.name
    for path in site.rglob("*.js"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"""(?:import|importScripts|\.src\s*=)\s*\(?["'](?:https?:)?//""",
                             text), path.name


def test_every_picture_has_the_sentence_of_its_cell(site, pages, sentences):
    everywhere = {text for page in pages.values() for text in page.texts}
    for name in NAMES:
        shown = pages[(site / "notebooks" / f"{name}.html").resolve()].texts
        assert shown == sentences(name)
        everywhere -= {*shown}
    # On the other pages a picture of a notebook says the same; README's and growth.svg say more.
    assert len(everywhere) <= 3 and all(len(text) > 40 for text in everywhere)


@pytest.mark.parametrize(("run_here", "age", "shown"), [
    (True, -60, "run here"), (True, 60, "committed"), (True, None, "committed"),
    (False, -60, "committed")])
def test_make_notebooks_shows_what_was_run_here_unless_the_notebook_is_newer(
        run_here, age, shown, tmp_path):
    for folder, title in (("notebooks", "committed"), ("build", "run here")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "01.ipynb").write_text(json.dumps(
            {"cells": [{"cell_type": "markdown", "metadata": {}, "source": [f"# {title}"]}]}))
    if age is None:
        (tmp_path / "build" / "01.ipynb").unlink()
    else:
        os.utime(tmp_path / "build" / "01.ipynb", (time.time() - age,) * 2)
    app = SimpleNamespace(srcdir=tmp_path, config=SimpleNamespace(run_here=run_here),
                          env=SimpleNamespace(doc2path=lambda name: tmp_path / f"{name}.ipynb",
                                              note_dependency=lambda path: None))
    runpy.run_path(COURSE / "docs" / "conf.py")["complete"](app, "notebooks/01", text := [""])
    assert f"# {shown}" in text[0]


def test_what_is_wrong_is_found(tmp_path):
    """The checks above can fail."""
    path = tmp_path / "bad.html"
    path.write_text("""<style>@import "https://x/a.css"; a {background: url(b.png)}</style>
        <script src="//x/c.js"></script> <a href="gone.html">1</a> <a href="#nowhere">2</a>
        <p id="here" style="background: url('http://x/d.png')"></p> <img src="gone.png">
        <img alt="?" src="#here"> <a href="#here">3</a> <a href="https://doi.org/10.1">4</a>""")
    page = Page(path)
    assert from_outside(page) == ["//x/c.js", "https://x/a.css", "http://x/d.png"]
    assert broken(page, {path.resolve(): page}) == ["gone.html", "#nowhere", "gone.png"]
    assert page.texts == ["", "?"]


# Slides


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    """Make the slides; return their folder, and the page of each plan."""
    folder = tmp_path_factory.mktemp("slides") / "slides"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(make_slides, "BUILD", folder)
        assert make_slides.main() == 0
    return folder, [folder / f"{plan['file']}.html" for plan in TABLE["plan"]]


def test_slides_have_the_pictures_and_the_clock_of_the_table(talk):
    for number, page in enumerate(map(Page, talk[1])):
        assert from_outside(page) == []
        assert not broken(page, {page.path.resolve(): page}), "what it loads lies beside it"
        lessons = TABLE["plan"][number]["lesson"]
        given = [step for about in lessons for step in steps(TABLE, number, about)]
        shown = [step for step in given if "shows" in step]
        text = page.path.read_text(encoding="utf-8")
        found = re.findall(r'<img src="pictures/(\w+)\.png" alt="([^"]+)">', text)
        assert found == [(step["shows"], html.escape(make_slides.words(step))) for step in shown]
        assert all(len(words) > 40 for _, words in found) and "{" not in text.split("<script")[0]
        assert make_slides.LICENCE in text
        assert "<ol start" not in text, "Markdown took a number for a place in a list"
        assert text.count('<div class="picture fragment">') == len(shown)  # after the question
        clocks = re.findall(r"From (\d\d):(\d\d), for ([\d.]+) min(?:, (.+) of them to work)?\.<",
                            text)
        assert [(60 * int(minute) + int(second), float(length), float(work or 0))
                for minute, second, length, work in clocks] == [
            (60 * step["start"], step["length"], step.get("work", 0)) for step in given]
        assert text.count('<aside class="notes">') == len(clocks) + len(lessons)


@pytest.mark.parametrize("step", [step for step in TABLE["step"] if "shows" in step],
                         ids=lambda step: step["shows"])
def test_a_picture_has_room_and_its_labels_can_be_read(step, talk):
    """On 1280 × 720 a line holds 95 letters, 84 beside the arrows; labels of 9 pt get 14 px."""
    assert len(step["title"]) <= 60 and len(step["ask"]) <= 95
    lines = -(-len(step.get("then", "").format_map(FACTS).replace("*", "")) // 84)
    assert lines <= 2
    with Image.open(talk[0] / "pictures" / f"{step['shows']}.png") as picture:
        scale = min(1184 / picture.width, (720 - 26 - 38 - 31 - 34 * lines) / picture.height)
        edge = picture.convert("L").crop((picture.width - 1, 0, *picture.size))
        assert edge.getextrema()[0] > 240, "`part` cuts through something"
    assert scale * 150 * 9 / 72 >= 14  # figures are saved with 150 pixels an inch


@pytest.mark.parametrize(("change", "message"), [
    ({"shows": "fig99_gone"}, "no cell of notebook 1 saves fig99_gone"),
    ({"shows": "fig01_counts", "notebook": 2}, "no cell of notebook 2 saves fig01_counts"),
])
def test_a_picture_that_is_not_there_is_named(change, message):
    with pytest.raises(CourseError, match=message):
        make_slides.words({"notebook": 1} | change)
