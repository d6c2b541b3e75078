"""Tables and findings in README and docs are those of the shipped files."""

import pytest
import write_gallery
import write_readme

from fer_helpers.copies import known_copies
from fer_helpers.course import COURSE
from fer_helpers.identity import VOTES, images
from fer_helpers.runs import reference_runs

README = (COURSE / "README.md").read_text(encoding="utf-8")


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


def test_the_findings_of_the_first_screen():
    ids = reference_runs("final")[0].ids
    assert "One test picture in six has a copy" in README
    assert round(1 / (known_copies(ids)["copy_in_train"] != "").mean()) == 6
    assert "another answer than the label in four of ten" in README
    table = images().set_index("path").loc[ids]
    votes = table[list(VOTES)].rename(columns=VOTES)
    first = votes.eq(votes.max(axis=1), axis=0)  # ties count in part
    right = first.to_numpy()[range(len(ids)), first.columns.get_indexer(table["emotion"])]
    assert round(10 * (1 - (right / first.sum(axis=1)).mean())) == 4
    assert "1024 filters against 512 is not settled" in README
    assert "*not settled*" in write_readme.answer()


def test_it_can_be_read_in_five_minutes():
    assert len(README.split()) <= 1300, "cut as many words elsewhere"


def test_the_gallery_shows_every_figure_and_all_of_the_report():
    text = write_gallery.GALLERY.read_text(encoding="utf-8")
    assert text == write_gallery.gallery(), "make refresh writes it"
    assert [number for number, *_ in write_gallery.REPORT] == list(range(1, 17))
    drawn = {path for path in write_gallery.GALLERY.parent.glob("*/*.png")
             if not path.stem.endswith(("_here", "_faces"))}
    assert all(f"({path.parent.name}/{path.name})" in text for path in drawn)
    with pytest.raises(LookupError, match="fig99_none is in no notebook"):
        write_gallery.place_of("fig99_none", write_gallery.places())
