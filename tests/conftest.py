"""What several test files use."""

import ast
import csv
import os
import re
import shutil
import subprocess
import symtable
import sys
import time
import zipfile

import matplotlib.pyplot as plt
import nbformat
import notebook_files
import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

from fer_helpers import dataset as ds
from fer_helpers.course import COURSE
from fer_helpers.runs import Run

# What the competition's fer2013.csv calls splits and classes.
COMPETITION = {"train": "Training", "test": "PublicTest", "angry": 0, "disgust": 1, "fear": 2,
               "happy": 3, "sad": 4, "surprise": 5, "neutral": 6}


@pytest.fixture(scope="session")
def fixture_index():
    return ds.index_images(ds.Dataset(ds.FIXTURE))


@pytest.fixture(scope="session")
def fixture_sets():
    """Balanced training and test examples of the fixture."""
    return ds.load_balanced(ds.Dataset(ds.FIXTURE), ds.FIXTURE_SIZES)


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of the fixture that a test may damage; FER_DATA points to it."""
    folder = tmp_path / "copy"
    shutil.copytree(ds.FIXTURE, folder)
    monkeypatch.setenv("FER_DATA", str(folder))
    return folder


@pytest.fixture
def make_zip(tmp_path):
    """Write the fixture as a zip in which some files have another content, or are new."""

    def write(changes=None, top=""):
        files = {path.relative_to(ds.FIXTURE).as_posix(): path.read_bytes()
                 for path in sorted(ds.FIXTURE.rglob("*.jpg"))}
        with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in (files | (changes or {})).items():
                archive.writestr(top + name, content)
        return ds.Dataset(tmp_path / "x.zip")

    return write


@pytest.fixture
def make_csv(tmp_path):
    """Write images as the competition's file; the keywords choose another spelling."""

    def write(paths, pixels, header=("emotion", "pixels", "Usage"), names=COMPETITION, more=""):
        with open(tmp_path / "fer2013.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            for path, image in zip(paths, pixels, strict=True):
                split, emotion, _ = path.split("/")
                fields = {"emotion": names[emotion], "usage": names[split],
                          "pixels": " ".join(map(str, image.ravel()))}
                writer.writerow([fields[name.strip().casefold()] for name in header])
            file.write(more)
        return ds.Dataset(tmp_path / "fer2013.csv")

    return write


@pytest.fixture
def made_up_run():
    """Make a run of which one says what is right."""

    def make(model, seed, right, *, ids=None, epochs=2, sure=0.9):
        labels = np.arange(len(right)) % 6
        answers = np.where(right, labels, (labels + 1) % 6)
        probabilities = np.full((len(right), 6), (1 - sure) / 5, np.float32)
        probabilities[np.arange(len(right)), answers] = sure
        loss = float(-np.log(probabilities[np.arange(len(right)), labels]).mean())
        history = pd.DataFrame({"accuracy": [1 / 3] * epochs, "val_loss": [1e-17] * epochs,
                                "val_cross_entropy": [loss] * epochs},
                               index=pd.RangeIndex(1, epochs + 1, name="epoch"))
        return Run(probabilities, labels, labels.astype(str) if ids is None else ids,
                   {"model": model, "seed": seed, "patience": None, "augmentation": {"zoom": 0.1}},
                   history, {"dataset": "fixture", "kept_epoch": epochs})

    return make


@pytest.fixture
def trap():
    """An array that prints when it is unpickled: nothing in a file may be executed."""
    class Trap:
        def __reduce__(self):
            return print, ("executed",)

    return np.array([Trap()], dtype=object)


@pytest.fixture(scope="session")
def functions_of():
    """Read the functions that a notebook defines, and what it imports, without running it."""

    def read(name):
        code = "\n".join(cell.source for cell in notebook_files.code_cells(name))
        wanted = (ast.Import, ast.ImportFrom, ast.FunctionDef)
        tree = ast.parse(code)
        tree.body = [node for node in tree.body if isinstance(node, wanted)]
        found = {}
        exec(compile(tree, name, "exec"), found)
        return found

    return read


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """Build the site as `make site` does, once: the processes of pytest-xdist share it.

    A warning, such as a broken link, is an error.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    folder /= "site"
    with FileLock(f"{folder}.lock"):
        if not folder.is_dir():
            built = subprocess.run(
                [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", "docs",
                 "-d", folder.with_name("doctrees"), ".", folder],
                cwd=COURSE, capture_output=True, text=True)
            assert built.returncode == 0, built.stderr
    return folder


@pytest.fixture(scope="session")
def sentences():
    """Read the texts of a notebook's pictures, in their order, from the cells that show them."""

    def read(name):
        return [cell.metadata.alt for cell in notebook_files.code_cells(name)
                for output in cell.outputs if "image/png" in output.get("data", {})]

    return read


@pytest.fixture
def steps(monkeypatch):
    """What every training step gets: images, labels, learning rate, and all variables before it."""
    from machinery.keras_quietly import keras
    seen, step = [], keras.Sequential.train_on_batch

    def spy(self, images, labels, **options):
        seen.append((images, labels, float(self.optimizer.learning_rate),
                     {v.path: v.numpy() for v in self.variables}))
        return step(self, images, labels, **options)

    monkeypatch.setattr(keras.Sequential, "train_on_batch", spy)
    return seen


@pytest.fixture(scope="session")
def plain_figure():
    """Measure the CPU-seconds of a figure with two empty axes, on this machine and as busy as now.

    What counts as fast is told in such figures.
    """
    def measure():
        started = time.process_time()
        figure, _ = plt.subplots(1, 2, layout="constrained")
        figure.canvas.draw()
        plt.close(figure)
        return time.process_time() - started

    measure()  # the first one loads fonts
    return measure


def tables_in(table):
    yield table
    for child in table.get_children():
        yield from tables_in(child)


def names_in(statement):
    """Say which names a statement sets or changes, and which it takes from elsewhere."""
    table = symtable.symtable(ast.unparse(statement), "statement", "exec")
    uses = {name.get_name() for scope in tables_in(table) for name in scope.get_symbols()
            if name.is_global() and name.is_referenced()}
    sets = {name.get_name() for name in table.get_symbols()
            if name.is_assigned() or name.is_imported()}
    changed = {re.match(r"\w*", ast.unparse(node))[0] for node in ast.walk(statement)
               if isinstance(getattr(node, "ctx", None), ast.Store)}  # frame["column"] = ...
    return sets | changed & uses, uses


@pytest.fixture(scope="session")
def needed_by():
    """Pick some cells of a notebook and the statements that they need, so no test has to train."""

    def pick(cells, *targets):
        wanted, picked = set(), []
        for cell in reversed(cells):
            tags = cell.metadata.get("tags", [])
            if cell.cell_type != "code" or ("control" in tags and cell.id not in targets):
                continue
            kept = []
            for statement in reversed(ast.parse(cell.source).body):
                sets, uses = names_in(statement)
                if cell.id in targets or sets & wanted:
                    kept.insert(0, ast.unparse(statement))
                    wanted = wanted - sets | uses
            assert "training.train(" not in "".join(kept)
            source = cell.source if cell.id in targets else "\n".join(kept)
            picked.insert(0, nbformat.from_dict(cell | {"source": source}))
        return picked

    return pick
