"""The README's tables of results are those that its script writes from the shipped files."""

import importlib.util

from fer_helpers.course import COURSE


def test_the_tables_are_up_to_date():
    spec = importlib.util.spec_from_file_location("write_readme", COURSE / "data/write_readme.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    text = (COURSE / "README.md").read_text(encoding="utf-8")
    assert script.filled(text) == text
    for old, new in (("| baseline, two", "| base line, two"), ("6,608", "6,567")):
        assert old in text
        assert script.filled(text.replace(old, new)) == text, "what is wrong is made anew"
