"""Tables in README and docs are those of the shipped files."""

import pytest
import write_gallery
import write_readme

from fer_helpers.course import COURSE


@pytest.mark.parametrize("page", write_readme.PAGES, ids=lambda page: page.stem)
def test_the_tables_are_up_to_date(page):
    text = page.read_text(encoding="utf-8")
    assert write_readme.filled(text) == text, "make refresh writes them"


@pytest.mark.parametrize(("page", "old", "new"), [
    (0, "| baseline, two", "| base line, two"), (1, "6,608", "6,567")])
def test_what_is_wrong_is_made_anew(page, old, new):
    text = write_readme.PAGES[page].read_text(encoding="utf-8")
    assert old in text
    assert write_readme.filled(text.replace(old, new)) == text


def test_it_can_be_read_in_five_minutes():
    text = (COURSE / "README.md").read_text(encoding="utf-8")
    assert len(text.split()) <= 1300, "cut as many words elsewhere"


def test_the_gallery_shows_every_figure_and_all_of_the_report():
    text = write_gallery.GALLERY.read_text(encoding="utf-8")
    assert text == write_gallery.gallery(), "make refresh writes it"
    assert [number for number, *_ in write_gallery.REPORT] == list(range(1, 17))
    with pytest.raises(LookupError, match="fig99_none is in no notebook"):
        write_gallery.place_of("fig99_none", write_gallery.places())
