"""The drawn dataset: whole, and always drawn the same."""

import hashlib
import subprocess
import sys

from fer_helpers.course import COURSE

FIXTURE = COURSE / "data" / "fixture"
SCRIPT = COURSE / "experiments" / "draw_fixture.py"


def sums(folder):
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in folder.rglob("*") if p.is_file()}


def test_checksums_hold():
    found = sums(FIXTURE)
    del found["SHA256SUMS"]
    listed = [line.split("  ") for line in (FIXTURE / "SHA256SUMS").read_text().splitlines()]
    assert found == {name: digest for digest, name in listed}


def test_redrawn_it_is_identical(tmp_path):
    subprocess.run([sys.executable, SCRIPT, tmp_path / "again"], check=True)
    assert sums(tmp_path / "again") == sums(FIXTURE)


def test_the_script_does_not_overwrite(tmp_path):
    result = subprocess.run([sys.executable, SCRIPT, tmp_path], capture_output=True, text=True)
    assert result.returncode != 0
    assert "exists already. Remove it first" in result.stderr
    assert list(tmp_path.iterdir()) == []
