"""Tables in README and docs are those of the shipped files."""

import pandas as pd
import pytest
import write_gallery
import write_readme

from fer_helpers.course import COURSE
from machinery.files import CourseError


@pytest.mark.parametrize("page", write_readme.PAGES, ids=lambda page: page.stem)
def test_the_tables_are_up_to_date(page):
    """What is wrong is made anew, and a mark that is lost is missed."""
    text, parts = page.read_text(encoding="utf-8"), write_readme.PAGES[page]
    assert write_readme.filled(page, parts, text) == text, "make refresh writes them"
    for name in parts:
        start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        old = text[text.index(start):text.index(end)]
        assert write_readme.filled(page, parts, text.replace(old, f"{start} 6,567 ")) == text
        for mark, other in ((start, ""), (end, ""), (end, end + end), (start, end + start)):
            with pytest.raises(CourseError, match=f"{page.name} lacks .*Put it back"):
                write_readme.filled(page, parts, text.replace(mark, other))


def test_what_the_pages_say_of_speed_is_what_the_benchmark_measured():
    times = pd.read_csv(write_readme.BENCH, comment="#").set_index(["what", "way"])[
        "times the course's"]
    said = "a training step of the final network takes about two thirds of the time of the report's"
    assert said in (COURSE / "README.md").read_text(encoding="utf-8")
    for way in ("report", "report, oneDNN on"):
        assert 1 / times["step, final", way] == pytest.approx(2 / 3, abs=0.05)
    said = "Keras reads a folder in less than half the time."
    assert said in (COURSE / "docs" / "speed.md").read_text(encoding="utf-8")
    assert times["load, 18,000 images", "Keras"] < 0.5


def test_it_can_be_read_in_five_minutes():
    text = (COURSE / "README.md").read_text(encoding="utf-8")
    assert len(text.split()) <= 1300, "cut as many words elsewhere"


def test_the_gallery_shows_every_figure_and_all_of_the_report():
    text = write_gallery.GALLERY.read_text(encoding="utf-8")
    assert text == write_gallery.gallery(), "make refresh writes it"
    assert [number for number, *_ in write_gallery.REPORT] == list(range(1, 17))
    with pytest.raises(LookupError, match="fig99_none is in no notebook"):
        write_gallery.place_of("fig99_none", write_gallery.places())
