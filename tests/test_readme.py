"""The README's tables of results are those that its script writes from the shipped files."""

import write_readme

from fer_helpers.course import COURSE


def test_the_tables_are_up_to_date():
    text = (COURSE / "README.md").read_text(encoding="utf-8")
    assert write_readme.filled(text) == text
    for old, new in (("| baseline, two", "| base line, two"), ("6,608", "6,567")):
        assert old in text
        assert write_readme.filled(text.replace(old, new)) == text, "what is wrong is made anew"
