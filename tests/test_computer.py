"""What a run says of the computer that made it."""

import os
import platform
import re
import shutil
import subprocess

import pytest

from machinery import computer


@pytest.mark.skipif(not shutil.which("git"), reason="git is not here")
@pytest.mark.parametrize(("told", "processor"), [
    (b"model name\t: A Chip @ 2 GHz\nflags: \xff\n", "A Chip @ 2 GHz"),
    (b"CPU implementer\t: 0x41\n", "arm"), (None, "arm")])  # on ARM; elsewhere than on Linux
def test_the_machine_is_described_with_and_without_linux_and_git(told, processor, monkeypatch,
                                                                 tmp_path):
    if told:
        (tmp_path / "cpuinfo").write_bytes(told)
    monkeypatch.setattr(computer, "Path", lambda _: tmp_path / "cpuinfo")
    monkeypatch.setattr(platform, "processor", lambda: "arm")
    monkeypatch.setattr(os, "cpu_count", lambda: 99)

    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)  # the user may sign what he commits

    def git(*command):
        subprocess.run(["git", "-c", "user.name=x", "-c", "user.email=x", *command], check=True,
                       cwd=tmp_path, capture_output=True)

    (tmp_path / "file").touch()
    for command in ("init", "add file", "commit -m x", "tag -a 1.0 -m x"):
        git(*command.split())
    found = computer.machine(tmp_path)
    assert re.fullmatch("[0-9a-f]{40}", found["commit"])
    assert found | {"commit": ""} == {"processor": processor, "cores": 99, "commit": ""}
    (tmp_path / "file").write_text("changed")
    assert computer.machine(tmp_path)["commit"] == f"{found['commit']}-dirty"
    # A copy of the course inside another repository records no commit of that one.
    (tmp_path / "course").mkdir()
    assert computer.machine(tmp_path / "course")["commit"] == ""
    monkeypatch.setenv("PATH", "")
    assert computer.machine(tmp_path) == found | {"commit": ""}
