"""Versions stand in one place, and the check tells the truth."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import check
import install
import pandas as pd
import pytest
import yaml

from fer_helpers.course import COURSE

LOCK = (COURSE / "requirements.lock").read_text("utf-8")
PROJECT = tomllib.loads((COURSE / "pyproject.toml").read_text("utf-8"))["project"]
OPTIONAL = PROJECT["optional-dependencies"]
# Each takes gigabytes, and another package on each kind of machine.
NOT_LOCKED = [OPTIONAL.pop(name) for name in ("jax", "torch")]
DIRECT, ALL = ([re.match(r"[\w-]+", requirement)[0] for requirement in requirements]
               for requirements in (PROJECT["dependencies"] + OPTIONAL["test"],
                                    sum(OPTIONAL.values(), PROJECT["dependencies"])))


def test_environment_yml_takes_every_version_from_the_lock():
    environment = yaml.safe_load((COURSE / "environment.yml").read_text("utf-8"))
    *conda, pip = environment["dependencies"]
    assert conda == ["python=3.12", "pip"]
    assert pip == {"pip": ["-r requirements.lock"]}


def test_every_package_is_locked_once_with_hashes_and_without_addresses():
    entries = re.findall(r"^([\w.-]+)==\S+", LOCK, re.MULTILINE)
    assert len(entries) == len(set(entries)) > 100
    assert set(ALL) <= set(entries)
    blocks = re.split(r"^(?=[\w.-]+==)", LOCK, flags=re.MULTILINE)[1:]
    assert all("--hash=sha256:" in block for block in blocks)
    assert "://" not in LOCK
    assert not re.search(r"^--?(index|extra|find|trusted)", LOCK, re.MULTILINE)


def test_a_dependency_has_a_lower_bound_alone_and_says_what_it_is_for():
    text = (COURSE / "pyproject.toml").read_text("utf-8")
    for name in ALL:
        assert re.search(rf'^    "{name}>=[\d.]+", +# \w+', text, re.MULTILINE), name
    assert all(re.fullmatch(r"[\w-]+>=[\d.]+", one) for some in NOT_LOCKED for one in some)


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
        names = re.findall(r"^([\w.-]+)==", Path(command[-1]).read_text("utf-8"), re.MULTILINE)
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


def test_every_file_is_read_and_written_as_utf_8():
    """Windows reads in the system's own encoding otherwise, and some files hold é and ×."""
    found = []
    for path in [*COURSE.glob("fer_helpers/*.py"), *COURSE.glob("machinery/*.py"),
                 *COURSE.glob("tools/*.py"), COURSE / "docs" / "conf.py"]:
        for call in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(call, ast.Call) and (what := careless(call)):
                found.append(f"{path.name}:{call.lineno} {what}")
    assert found == []


@pytest.mark.skipif(not shutil.which("git"), reason="git is not here")
def test_the_git_of_windows_changes_no_byte(tmp_path):
    names = [".gitattributes", "data/fixture/SHA256SUMS", "notebooks/01_data_audit.ipynb"]
    git = ["git", "-C", str(tmp_path), "-c", "core.autocrlf=true"]
    subprocess.run([*git, "init", "-q"], check=True)
    for name in names:
        (tmp_path / Path(name).name).write_bytes((COURSE / name).read_bytes())
    subprocess.run([*git, "add", "."], check=True)
    for name in names:
        (tmp_path / Path(name).name).unlink()
    subprocess.run([*git, "checkout", "-q", "."], check=True)
    for name in names:
        assert (tmp_path / Path(name).name).read_bytes() == (COURSE / name).read_bytes()


def careless(call):
    """Return the name of a call that reads or writes text without saying how."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    says = len(call.args) > (name == "write_text") or any(
        keyword.arg == "encoding" for keyword in call.keywords)
    return name if name in ("read_text", "write_text") and not says else ""


def test_what_is_careless():
    calls = ["p.read_text()", "p.write_text(x)", "p.read_text('utf-8')", "p.write_text(x, 'utf-8')",
             "p.read_text(encoding='utf-8')", "p.read_bytes()"]
    assert [bool(careless(ast.parse(call).body[0].value)) for call in calls] == [
        True, True, False, False, False, False]


# The check


@pytest.fixture
def checked(monkeypatch, capsys, tmp_path):
    """Run the check with small batches, or without training; return if it passed, and its lines."""
    monkeypatch.setenv("FER_RUNS", str(tmp_path / "runs"))

    def run(train=False):
        if not train:
            monkeypatch.setattr(check, "_training", lambda batch_size: [])
        passed = check.check(batch_size=2)
        return passed, capsys.readouterr().out.splitlines()
    return run


def test_check_passes_here_and_trains(monkeypatch, checked):
    from fer_helpers import models
    monkeypatch.setattr(models, "build_final", models.build_baseline)  # faster, the same way
    passed, lines = checked(train=True)
    assert passed, lines
    assert all(line.startswith("[ OK ] ") for line in lines)
    text = "\n".join(lines)
    assert re.search(r"Keras [\d.]+ trains with tensorflow [\d.]+ on the CPU", text)
    assert re.search(r"the final model takes about [\d.]+ (minutes|hours) on FER-2013: "
                     r"20 epochs of \d+ s; docs/gpu.md", text)
    assert "dataset: fixture, 292 images" in text
    for variable in ("FER_DATA", "FER_FIGURES", "FER_RUNS"):
        assert variable in text


def test_an_epoch_is_foretold_from_the_second_of_two_short_ones(monkeypatch):
    from fer_helpers import training
    seen = []
    monkeypatch.setattr(training, "train", lambda build, data, settings, **_: seen.append(
        (len(data.train.labels), settings.batch_size)) or SimpleNamespace(
            history=pd.DataFrame({"seconds": [99.0, 2.0]})))
    assert check.timed(None, 8)[1] == pytest.approx(2 / 16 * 17_994)
    assert seen == [(16, 8)]


def test_ok_means_that_something_was_trained(monkeypatch, checked):
    from fer_helpers import training

    def broken(*_, **__):
        raise ImportError("no kernel image\nis available")
    monkeypatch.setattr(training, "train", broken)
    passed, lines = checked(train=True)
    assert not passed
    assert lines[2] == ("[FAIL] nothing can be trained here (ImportError: no kernel image). "
                        "`make clean setup` installs it anew")


@pytest.mark.parametrize(("changed", "installed", "colab", "expected"), [
    ("seaborn", "1.0", False,
     r"\[ OK \] other versions than the lock: fine \(seaborn 1.0, not [\d.]+\)"),
    ("seaborn", None, True, r"\[FAIL\] missing: seaborn. `make setup` installs all packages"),
    ("jupyterlab", None, False, r"\[FAIL\] missing: jupyterlab. .*"),
    ("jupyterlab", None, True, r"\[ OK \] .*")])
def test_another_version_is_fine_and_a_missing_package_is_not(
        monkeypatch, checked, changed, installed, colab, expected):
    version = metadata.version
    if colab:
        monkeypatch.setenv("COLAB_RELEASE_TAG", "set by the platform")

    def other(name):
        if name == changed and installed is None:
            raise metadata.PackageNotFoundError
        return installed if name == changed else version(name)

    monkeypatch.setattr(check.metadata, "version", other)
    passed, lines = checked()
    assert passed == ("OK" in expected)
    assert re.fullmatch(expected, lines[1])


def test_check_finds_a_wrong_python(monkeypatch, checked):
    monkeypatch.setattr(check.sys, "version_info", (3, 9, 1))
    passed, lines = checked()
    assert not passed
    assert lines[0] == ("[FAIL] Python 3.9.1: use 3.11, 3.12 or 3.13, for example "
                        "`make PYTHON=python3.12`")


def test_check_finds_what_cannot_be_read_or_written(monkeypatch, checked, tmp_path):
    monkeypatch.setenv("FER_DATA", str(tmp_path / "nowhere"))
    (tmp_path / "file").write_text("where a folder should be")
    monkeypatch.setenv("FER_FIGURES", str(tmp_path / "file"))
    monkeypatch.setattr(check.shutil, "disk_usage", lambda _: SimpleNamespace(free=0.3e9))
    _, lines = checked()
    data, figures, runs = [line for line in lines if line.startswith("[FAIL]")]
    assert "No dataset at" in data
    assert "cannot be written to: change its permissions, or set FER_FIGURES" in figures
    assert "has room for 0.3 GB and may need 1.5 GB: make room, or set FER_RUNS" in runs


@pytest.mark.parametrize("locale", [
    {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"},
    {"PYTHONIOENCODING": "cp1252"}, {"PYTHONIOENCODING": "gbk"}, {"PYTHONIOENCODING": "shift_jis"}])
def test_check_speaks_under_every_locale(locale, copy):
    """The path of the dataset has letters that these encodings lack."""
    place = copy.rename(copy.with_name("données 表情 ₿"))
    quickly = {"KERAS_BACKEND": "none"}  # nothing can be trained
    result = subprocess.run([sys.executable, "tools/check.py"], cwd=COURSE, capture_output=True,
                            env=os.environ | locale | quickly | {"FER_DATA": str(place)})
    assert result.returncode == 1 and result.stderr == b""
    assert result.stdout.count(b"[FAIL]") == 1 and b"nothing can be trained" in result.stdout
    assert b"custom-donn" in result.stdout and b"292 images" in result.stdout
