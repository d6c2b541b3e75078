"""The notebooks' first cell: nothing at home; in Colab and the like it gets the course."""

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import course as tool
import name_repository
import pytest
from notebook_files import NAMES, code_cells

from fer_helpers.course import COURSE

REPOSITORY = tomllib.loads(
    (COURSE / "pyproject.toml").read_text("utf-8"))["project"]["urls"]["repository"]


def first_cell(name):
    return code_cells(name)[0]


@pytest.mark.parametrize("name", NAMES)
def test_every_notebook_has_it_folded(name):
    cell = first_cell(name)
    assert cell.id == "elsewhere"
    assert cell.source == first_cell(NAMES[0]).source
    assert cell.metadata.jupyter.source_hidden and "remove-cell" in cell.metadata.tags


@pytest.mark.parametrize("path", name_repository.FILES, ids=lambda path: path.stem)
def test_one_place_names_the_repository(path):
    text, here = path.read_text("utf-8"), REPOSITORY.removeprefix("https://github.com/")
    assert name_repository.named(text, REPOSITORY) == text
    moved = name_repository.named(text, "https://github.com/some-one/a.course")
    assert moved == text.replace(here, "some-one/a.course") != text


@pytest.mark.parametrize(("words", "said"), [
    ([], None), (["https://github.com/me/course.git"], None),
    (["me/course"], "me/course is not an address such as")])
def test_naming_it(monkeypatch, tmp_path, words, said):
    files = [tmp_path / path.name for path in name_repository.FILES]
    for path, source in zip(files, name_repository.FILES, strict=True):
        path.write_bytes(source.read_bytes())
    monkeypatch.setattr(name_repository, "FILES", files)
    before = [path.read_text("utf-8") for path in files]
    found = name_repository.main(words)
    assert found.startswith(said) if said else found is None
    changed = said is None and bool(words)
    for path, text in zip(files, before, strict=True):
        here = REPOSITORY.removeprefix("https://github.com/")
        assert path.read_text("utf-8") == (text.replace(here, "me/course") if changed else text)


@pytest.mark.parametrize(("place", "expected"), [
    ("home", []), ("colab", ["git clone", "course packages"]), ("again", ["course packages"]),
    ("another kernel", [".. packages"])])
def test_what_it_does(monkeypatch, tmp_path, place, expected):
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    monkeypatch.setattr(sys, "path", sys.path[:])
    if place == "again":
        Path("course").mkdir()
    if place == "another kernel":
        (tmp_path / "fer_helpers").mkdir()
    if place != "home":
        monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    calls = []
    monkeypatch.setattr(subprocess, "run", lambda command, check: calls.append(
        "git clone" if command[0] == "git" else f"{Path(command[1]).parts[0]} {command[2]}"))
    exec(first_cell(NAMES[0]).source, {})
    assert calls == expected
    if place == "colab":
        assert sys.path[0] == str(tmp_path / "notebooks" / "course")


@pytest.mark.parametrize(("lacks", "installs"), [
    ((), []), (("seaborn", "jupyterlab"), ["seaborn>=0.13"])])
def test_packages_are_added_and_none_is_replaced(monkeypatch, capsys, lacks, installs):
    there = [entry for entry in metadata.distributions() if entry.name not in lacks]
    monkeypatch.setattr(tool.metadata, "distributions", lambda: there)
    calls = []
    monkeypatch.chdir(tool.COURSE)

    def run(command):
        calls.append(command)
        kept = Path(command[command.index("--constraint") + 1]).read_text("utf-8").split()
        assert f"tensorflow=={metadata.version('tensorflow')}" in kept
        assert not any(line.startswith("seaborn=") for line in kept)
        return SimpleNamespace(returncode=0)
    monkeypatch.setattr(tool.subprocess, "run", run)
    if installs:
        with pytest.raises(SystemExit) as end:
            tool.packages()
        assert end.value.code == 0
        assert calls[0][-len(installs):] == installs
        monkeypatch.chdir("notebooks")  # at home: whoever opened them has chosen another kernel
        with pytest.raises(SystemExit, match=r"kernel, .* lacks seaborn.*Choose that of .venv"):
            tool.packages()
        monkeypatch.setenv("COLAB_RELEASE_TAG", "set by the platform")
        with pytest.raises(SystemExit, match="0"):
            tool.packages()
    else:
        tool.packages()
        assert calls == []


@pytest.mark.parametrize("lacking", [
    r"\.sum\(axis=None\)",  # pandas 2 sums each column
    r"spines\[.*\]\.set\(",  # not in Matplotlib 3.7
    "covariance_eigh",  # not in scikit-learn 1.2
    r"load_model\(", r"ops\.flip\("])  # Keras 3.10 cannot read newer files, nor flip two axes
def test_nothing_needs_what_the_older_versions_of_colab_and_kaggle_lack(lacking):
    places = ("fer_helpers/*.py", "machinery/*.py", "experiments/*.py", "notebooks/*.ipynb")
    files = [path for place in places for path in COURSE.glob(place)]
    assert [path.name for path in files if re.search(lacking, path.read_text("utf-8"))] == []


def test_files_of_binder_and_codespaces_use_what_is_here():
    binder = COURSE / "binder"
    assert (binder / "requirements.txt").read_text("utf-8") == "-r ../requirements.lock\n"
    assert "3.12" in (binder / "runtime.txt").read_text("utf-8")
    assert (binder / "postBuild").stat().st_mode & 0o111 or sys.platform == "win32"
    assert "tools/course.py setup" in (
        COURSE / ".devcontainer" / "devcontainer.json").read_text("utf-8")
