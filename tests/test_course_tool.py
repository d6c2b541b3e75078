"""`tools/course.py` does what make does, wherever the course lies, with nothing but Python."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import course as tool
import pytest
from notebook_files import NAMES

from fer_helpers.course import COURSE

ODD = "it's a #1 100% Ò 表 $HOME $ course"


@pytest.fixture
def ran(monkeypatch, tmp_path):
    """Let an environment be there, and note what would run in it: arguments, and variables."""
    for name in [*tool.SETTINGS, "PYTHON"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VENV", str(tmp_path / "venv"))
    for name in ("bin", "Scripts"):
        (tmp_path / "venv" / name).mkdir(parents=True)
    for name in ("bin/python", "Scripts/python.exe"):
        (tmp_path / "venv" / name).touch()
    (tmp_path / "venv" / "ready").write_text(tool.versions())
    calls = []

    def run(command, cwd, env, stdout):
        assert Path(cwd) == COURSE
        assert Path(command[0]).is_relative_to(tmp_path / "venv")
        calls.append((" ".join(command[1:]), env))
        return SimpleNamespace(returncode=0)
    monkeypatch.setattr(tool.subprocess, "run", run)
    return calls


@pytest.mark.parametrize(("words", "expected"), [
    ("check", ["tools/check.py"]), ("data", ["tools/get_data.py"]),
    ("notebooks NAMES=01,06_copies JOBS=1",
     ["tools/run_notebooks.py --jobs 1 01_data_audit 06_copies"]),
    ("figures NAMES=02", ["tools/run_notebooks.py --jobs 2 02_augmentation_preview"]),
    ("notebooks", ["tools/run_notebooks.py --jobs 2 " + " ".join(NAMES)]),
    ("test JOBS=3", ["-m ruff check", "-m mypy",
                     "-m pytest -n 3 --dist loadscope --no-loadscope-reorder"]),
    ("slides", ["tools/make_slides.py"]), ("bench", ["benchmarks/bench.py"]), ("setup", []),
])
def test_what_a_command_runs(ran, words, expected):
    assert tool.main(words.split()) == 0
    assert [command for command, _ in ran] == expected


def test_what_programs_are_told(ran, monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("PYTHONIOENCODING", "cp1252")
    tool.main(["figures"])
    (_, variables), = ran
    assert variables["FER_DATA"] == "data/fixture", "relative: the course's path may hold anything"
    assert variables["PYTHONUTF8"] == "1"
    assert variables["PYTHONPATH"].split(os.pathsep)[0] == str(COURSE)
    assert not {"PYTHONDONTWRITEBYTECODE", "PYTHONIOENCODING"} & set(variables)


@pytest.mark.parametrize(("root", "browser", "options"), [
    (1000, True, ""), (0, True, " --allow-root"), (0, False, " --allow-root --no-browser")])
def test_lab_opens_the_whole_course_and_works_in_a_container(
        ran, monkeypatch, capsys, root, browser, options):
    def get():
        if not browser:
            raise tool.webbrowser.Error
    monkeypatch.setattr(tool.os, "geteuid", lambda: root, raising=False)
    monkeypatch.setattr(tool.webbrowser, "get", get)
    tool.main(["lab"])
    assert ran[0][0].startswith("-m jupyter trust notebooks/01_data_audit.ipynb notebooks/02")
    command = ran[1][0]
    assert f"--ServerApp.root_dir={COURSE}" in command
    assert "transport_encryption=auto" in command
    assert "default_url=/lab/tree/notebooks/01_data_audit.ipynb" in command
    for option in ("--allow-root", "--no-browser"):
        assert (option in command) == (option in options)
    said = capsys.readouterr().out
    assert ("You are root" in said, "no browser here" in said) == (root == 0, not browser)


@pytest.mark.parametrize(("words", "said"), [
    (["notebooks", "NAMES=77"], "No notebook 77. There are 01_data_audit,"),
    (["notebooks", "JOB=1"], "JOB=1 is not a setting. There are VENV, INSTALLER, JOBS"),
    (["notebooks", "x"], "x is not a setting"), (["test"], "3")])
def test_a_wrong_word_is_one_line_and_the_first_failure_ends_it(ran, monkeypatch, words, said):
    monkeypatch.setattr(tool.subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=3))
    with pytest.raises(SystemExit, match=re.escape(said)):
        tool.main(words)


def test_an_unknown_command_lists_the_known_ones_and_make_has_the_same(capsys):
    assert tool.main(["jump"]) == 2
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(tool.COMMANDS)
    assert all(len(line.split()) > 3 for line in lines)
    text = (COURSE / "Makefile").read_text("utf-8").replace("\\\n", " ")
    assert re.search(r"^COMMANDS := (.*)$", text, re.M)[1].split() == list(tool.COMMANDS)


def test_it_speaks_to_old_pythons():
    """What is newer than Python 3.8 would be an error of syntax, and no sentence."""
    ast.parse((COURSE / "tools" / "course.py").read_text("utf-8"), feature_version=(3, 8))


# From nothing: the packages are left out, the rest is real.


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A course at an odd path whose set-up installs nothing; it notes what it would do."""
    folder = tmp_path / ODD
    (folder / "tools").mkdir(parents=True)
    (folder / "notebooks").mkdir()
    (folder / "notebooks" / "01_one.ipynb").touch()
    for name in ("Makefile", "tools/course.py"):
        shutil.copy(COURSE / name, folder / name)
    for name in ("requirements.lock", "pyproject.toml"):
        (folder / name).touch()
    note = "import sys; open('log', 'a', encoding='utf-8').write(repr(sys.argv) + '\\n')"
    for name in ("install", "run_notebooks"):
        (folder / "tools" / f"{name}.py").write_text(note)
    # pip and jupyter of the new environment would need packages, and its own pip takes long
    for name in ("pip", "jupyter"):
        (folder / f"{name}.py").write_text(note)
    (folder / "venv.py").write_text("import sys; sys.path[:] = [p for p in sys.path if p[-8:] != "
                                    "'$ course']; import venv; venv.create(sys.argv[-1])")
    for name in [*tool.SETTINGS, "PYTHON", "MAKEFLAGS", "MAKELEVEL"]:
        monkeypatch.delenv(name, raising=False)
    return folder


WAYS = ["course", pytest.param("make", marks=pytest.mark.skipif(
    not shutil.which("make") or os.name == "nt", reason="make is not here"))]


@pytest.mark.parametrize("way", WAYS)
def test_a_path_with_any_letters_and_no_environment(bare, way):
    start = ["make", f"PYTHON={sys.executable}"] if way == "make" else [
        sys.executable, "-S", "tools/course.py"]  # -S: without what is installed
    words = ["notebooks", "NAMES=01", "JOBS=1", "VENV=ein Ü 表", "INSTALLER=pip"]
    strict = os.environ | {"PYTHONIOENCODING": "ascii:strict"}
    for once in (True, False):
        done = subprocess.run([*start, *words], cwd=bare, capture_output=True, env=strict)
        assert done.returncode == 0, done.stderr
        assert (b"Making an environment" in done.stdout) == once
    calls = map(ast.literal_eval, (bare / "log").read_text("utf-8").splitlines())
    assert [[Path(program).stem, *words][:3] for program, *words in calls] == [
        ["install", "pip"], ["pip", "install", "--quiet"], ["jupyter", "labextension", "disable"],
        *2 * [["run_notebooks", "--jobs", "1"]]], "the second time, only the notebooks run"
    assert (bare / "ein Ü 表" / "pyvenv.cfg").exists()
    # Another lock brings it up to date, in place; another address of the repository does nothing.
    for name, text, calls in (("pyproject.toml", 'repository = "x"', 1),
                              ("requirements.lock", "x", 4)):
        (bare / name).write_text(text)
        (bare / "log").unlink()
        done = subprocess.run([*start, *words], cwd=bare, capture_output=True, env=strict)
        assert (b"up to date" in done.stdout) == (calls > 1) and done.returncode == 0
        assert len((bare / "log").read_text("utf-8").splitlines()) == calls
    subprocess.run([*start, "clean", "VENV=ein Ü 表"], cwd=bare, check=True)
    assert not (bare / "ein Ü 表").exists()
    # What is no environment of the course is neither removed nor emptied, nor filled.
    subprocess.run([*start, "clean", "VENV=notebooks"], cwd=bare, check=True)
    done = subprocess.run([*start, "setup", "VENV=notebooks"], cwd=bare, capture_output=True)
    assert b"notebooks holds other files, and no environment of this course" in done.stderr
    assert [path.name for path in (bare / "notebooks").iterdir()] == ["01_one.ipynb"]


@pytest.mark.parametrize("writable", [True, False])
def test_a_folder_that_may_only_be_read_stays_as_it_is(monkeypatch, tmp_path, writable):
    commands = []

    def run(command, **_):
        commands.append(command)
        return SimpleNamespace(returncode=0)
    monkeypatch.setenv("VENV", str(tmp_path / "venv"))
    monkeypatch.setattr(tool, "base_python", lambda: sys.executable)
    monkeypatch.setattr(tool.os, "access", lambda *_: writable)
    monkeypatch.setattr(tool.subprocess, "run", run)
    tool.setup()
    assert any("--editable" in command for command in commands) == writable
    assert (tmp_path / "venv" / "ready").exists()
    settings = (tmp_path / "venv" / "etc" / "ipython" / "ipython_kernel_config.py").read_text()
    assert 'language_info["version"] = "3"' in settings


@pytest.mark.parametrize("place", ["COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE"])
def test_colab_and_kaggle_compute_with_their_own_python(monkeypatch, place):
    def not_installed(name):
        raise tool.metadata.PackageNotFoundError

    monkeypatch.delenv("VENV", raising=False)
    monkeypatch.setattr(tool.metadata, "version", not_installed)
    monkeypatch.setenv(place, "set by the platform")
    assert tool.python() == sys.executable


@pytest.mark.parametrize(("chosen", "said"), [
    ("/no/python", "needs Python 3.11, 3.12 or 3.13, and /no/python is not one. Install one"),
    ("", "needs Python 3.11, 3.12 or 3.13, and this is ")])
def test_a_python_that_does_not_fit(monkeypatch, chosen, said):
    monkeypatch.setenv("PYTHON", chosen)
    monkeypatch.setattr(tool, "FITS", "raise SystemExit(1)")
    with pytest.raises(SystemExit, match=re.escape(said)):
        tool.base_python()


@pytest.mark.parametrize(("system", "machine", "libc", "known"), [
    ("Darwin", "x86_64", "", True), ("Darwin", "arm64", "", False), ("Windows", "ARM64", "", True),
    ("Linux", "x86_64", "", True), ("Linux", "x86_64", "glibc", False)])
def test_systems_without_tensorflow_are_named(monkeypatch, system, machine, libc, known):
    monkeypatch.setattr(tool.platform, "system", lambda: system)
    monkeypatch.setattr(tool.platform, "machine", lambda: machine)
    monkeypatch.setattr(tool.platform, "libc_ver", lambda: (libc, ""))
    assert ("docs/platforms.md" in tool.hint()) == known
