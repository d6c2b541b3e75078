"""What a run says of the computer that made it."""

import platform
import subprocess
from pathlib import Path

from fer_helpers.course import COURSE
from machinery.computer import machine


def test_the_machine_is_described_without_git_too(monkeypatch, tmp_path):
    found = machine(COURSE)
    assert found["processor"] and found["cores"] >= 1
    for lines, processor in (("model name\t: A Chip @ 2 GHz\nflags: x\n", "A Chip @ 2 GHz"),
                             ("CPU implementer\t: 0x41\n", platform.processor())):  # ARM
        with monkeypatch.context() as patch:
            patch.setattr(Path, "read_text", lambda *_, lines=lines: lines)
            assert machine(COURSE)["processor"] == processor
    # A copy of the course inside another repository records no commit of that one.
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / "course").mkdir()
    assert machine(tmp_path / "course")["commit"] == ""
    monkeypatch.setenv("PATH", "")
    assert machine(COURSE) == found | {"commit": ""}
