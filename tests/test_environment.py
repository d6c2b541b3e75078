"""Versions stand in one place, and the check tells the truth."""

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import check
import install
import pytest
import yaml

from fer_helpers.course import COURSE

LOCK = (COURSE / "requirements.lock").read_text()
PROJECT = tomllib.loads((COURSE / "pyproject.toml").read_text())["project"]
OPTIONAL = PROJECT["optional-dependencies"]
DIRECT, ALL = ([re.match(r"[\w-]+", requirement)[0] for requirement in requirements]
               for requirements in (PROJECT["dependencies"] + OPTIONAL["test"],
                                    sum(OPTIONAL.values(), PROJECT["dependencies"])))


def test_environment_yml_takes_every_version_from_the_lock():
    environment = yaml.safe_load((COURSE / "environment.yml").read_text())
    *conda, pip = environment["dependencies"]
    assert conda == ["python=3.12", "pip"]
    assert pip == {"pip": ["-r requirements.lock"]}


def test_pyproject_pins_nothing():
    for requirement in sum(OPTIONAL.values(), PROJECT["dependencies"]):
        assert "==" not in requirement and "~=" not in requirement


def test_every_package_is_locked_once_with_hashes_and_without_addresses():
    entries = re.findall(r"^([\w.-]+)==\S+", LOCK, re.MULTILINE)
    assert len(entries) == len(set(entries)) > 100
    assert set(ALL) <= set(entries)
    blocks = re.split(r"^(?=[\w.-]+==)", LOCK, flags=re.MULTILINE)[1:]
    assert all("--hash=sha256:" in block for block in blocks)
    assert "://" not in LOCK
    assert not re.search(r"^--?(index|extra|find|trusted)", LOCK, re.MULTILINE)


def test_every_dependency_says_what_it_is_for():
    text = (COURSE / "pyproject.toml").read_text()
    for name in ALL:
        assert re.search(rf'^    "{name}>=[\d.]+", +# \w+', text, re.MULTILINE), name


def test_uv_looks_for_packages_where_pip_does():
    listed = """:env:.find-links='here there'
global.cert='ca.pem'
global.extra-index-url='\\nfile:///one\\nfile:///two'
global.find-links='elsewhere'
global.index-url='file:///main'
global.timeout='60'
"""
    assert install.settings_for_uv(listed) == {
        "UV_INDEX_STRATEGY": "unsafe-best-match", "UV_FIND_LINKS": "here,there",
        "SSL_CERT_FILE": "ca.pem", "UV_INDEX": "file:///one file:///two",
        "UV_DEFAULT_INDEX": "file:///main"}


@pytest.mark.parametrize(("argument", "broken", "expected", "status"), [
    ("uv", "", ["pip: uv", "uv: all"], 0),
    ("pip", "", ["pip: all but uv"], 0),
    ("uv", "uv: all", ["pip: uv", "uv: all", "pip: all but uv"], 0),
    ("uv", "pip: uv", ["pip: uv", "pip: all but uv"], 0),
    ("uv", "pip", ["pip: uv", "pip: all but uv"], 1),
])
def test_pip_installs_what_uv_cannot(monkeypatch, argument, broken, expected, status):
    done = []

    def run(command, check=False, env=None, **options):
        if "install" not in command:
            return subprocess.CompletedProcess(command, 0, stdout="global.cert='ca.pem'")
        assert "--require-hashes" in command
        names = re.findall(r"^([\w.-]+)==", Path(command[-1]).read_text(), re.MULTILINE)
        what = "uv" if names == ["uv"] else "all" if "uv" in names else "all but uv"
        assert len(names) == 1 or set(DIRECT) <= set(names)
        tool = command[2]
        if tool == "uv":
            assert env["SSL_CERT_FILE"] == "the user's"
        done.append(f"{tool}: {what}")
        if broken and done[-1].startswith(broken):
            raise subprocess.CalledProcessError(1, command)

    monkeypatch.setenv("SSL_CERT_FILE", "the user's")
    monkeypatch.setattr(install.subprocess, "run", run)
    monkeypatch.setattr(install.sys, "argv", ["install", argument])
    assert install.main() == status
    assert done == expected


def test_check_passes_here():
    result = subprocess.run([sys.executable, COURSE / "tools" / "check.py"], capture_output=True,
                            text=True, cwd=COURSE)
    assert result.returncode == 0, result.stdout
    lines = result.stdout.splitlines()
    assert len(lines) == len(DIRECT) + 3
    assert all(line.startswith("[ OK ] ") for line in lines)
    assert any(line.startswith("[ OK ] dataset: fixture") for line in lines)


@pytest.fixture
def failing(monkeypatch, capsys):
    def run():
        passed = check.check()
        lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[FAIL]")]
        return passed, lines
    return run


@pytest.mark.parametrize(("installed", "found"), [(None, "is missing"), ("1.0", "1.0")])
def test_check_finds_a_missing_package_and_another_version(monkeypatch, failing, installed, found):
    version = metadata.version

    def other(name):
        if name == "seaborn" and installed is None:
            raise metadata.PackageNotFoundError
        return installed if name == "seaborn" else version(name)

    monkeypatch.setattr(check.metadata, "version", other)
    passed, (line,) = failing()
    assert not passed
    assert re.fullmatch(rf"\[FAIL\] seaborn {found}: the course was made with [\d.]+: "
                        "`pip install -r requirements.lock`", line)


def test_check_finds_a_wrong_python(monkeypatch, failing):
    monkeypatch.setattr(check.sys, "version_info", (3, 9, 1))
    passed, lines = failing()
    assert not passed
    assert lines == ["[FAIL] Python 3.9.1: use 3.11, 3.12 or 3.13, for example "
                     "`make PYTHON=python3.12`"]


def test_check_finds_a_missing_dataset_and_an_unwritable_figures_folder(
        monkeypatch, failing, tmp_path):
    monkeypatch.setenv("FER_DATA", str(tmp_path / "nowhere"))
    (tmp_path / "file").write_text("where a folder should be")
    monkeypatch.setenv("FER_FIGURES", str(tmp_path / "file"))
    passed, lines = failing()
    assert not passed
    assert len(lines) == 2
    assert "No dataset at" in lines[0]
    assert "cannot be written to: change its permissions, or set FER_FIGURES" in lines[1]
