"""Check that everything the course needs is there; runs before any package is installed.

    python tools/check.py        # `make check` does it
"""

import itertools
import os
import re
import shutil
import sys
import tomllib
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # if nothing is installed yet

import course

from fer_helpers.course import COURSE, course_path

# Where things go: what, the variable that changes it, the default, and the room it needs in GB.
PLACES = [("figures", "FER_FIGURES", "figures", 0.1), ("runs", "FER_RUNS", "runs", 1.5)]


def check(batch_size: int = 64) -> bool:
    """Print ``[ OK ]`` or ``[FAIL]`` with the remedy for each requirement; return if all hold.

    A few batches of ``batch_size`` images are trained.
    """
    results = itertools.chain(_python(), _packages(), _training(batch_size), _dataset(), _places())
    passed = True
    for good, text in results:  # one after the other: some take a while
        print("[ OK ]" if good else "[FAIL]", text, flush=True)
        passed &= good
    return passed


def _python():
    found = "{}.{}.{}".format(*sys.version_info)
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        yield True, f"Python {found}"
    else:
        yield False, (f"Python {found}: use 3.11, 3.12 or 3.13, for example "
                      "`make PYTHON=python3.12`")


def _packages():
    """Look for each direct dependency; a version that nobody tried is not a fault."""
    project = tomllib.loads((COURSE / "pyproject.toml").read_text("utf-8"))["project"]
    lock = (COURSE / "requirements.lock").read_text("utf-8")
    lock = dict(re.findall(r"^([\w.-]+)==(\S+)", lock, re.M))
    others, missing = [], []
    needed = [re.match(r"[\w-]+", requirement)[0] for requirement in project["dependencies"]]
    for name in needed:
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            if not (course.elsewhere() and name in course.AT_HOME):
                missing.append(name)
        else:
            if found != lock[name]:
                others.append(f"{name} {found}, not {lock[name]}")
    if missing:
        yield False, f"missing: {', '.join(missing)}. `make setup` installs all packages"
    elif others:
        yield True, f"other versions than the lock: fine ({'; '.join(others)})"
    else:
        yield True, f"{len(needed)} packages, in the versions of the lock"


def timed(build, batch_size, **options):
    """Train a network for two short epochs on noise; the second one tells how long others take.

    Returns the run, and the seconds of an epoch on the report's 17,994 images.
    """
    import numpy as np

    from fer_helpers import training
    from fer_helpers.course import EMOTIONS, IMAGE_SIZE
    from fer_helpers.dataset import REPORT_SIZES, Balanced, Examples

    def noise(count):
        pixels = np.random.default_rng(0).integers(0, 256, (count, IMAGE_SIZE, IMAGE_SIZE, 1))
        return Examples(pixels.astype(np.uint8), np.arange(count) % len(EMOTIONS),
                        np.arange(count).astype(str))

    images = 2 * batch_size
    share = REPORT_SIZES["test"] / REPORT_SIZES["train"]
    data = Balanced(noise(images), noise(round(images * share)), {"dataset": "noise"})
    settings = training.Settings(epochs=2, batch_size=batch_size, patience=None)
    run = training.train(build, data, settings, log=lambda line: None, **options)
    whole = len(EMOTIONS) * REPORT_SIZES["train"]
    return run, run.history["seconds"].iloc[-1] * whole / images


def _training(batch_size):
    try:
        from fer_helpers import models, training

        run, epoch = timed(models.build_final, batch_size)
        epochs = training.Settings().epochs
    except Exception as error:  # whatever it is, the reader should see it as one line
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        yield False, f"nothing can be trained here ({reason}). `make clean setup` installs it anew"
        return
    backend, device = run.about["backend"], run.about["device"].upper()
    yield True, (f"Keras {run.about['versions']['keras']} trains with {backend} "
               f"{run.about['versions'][backend]} on the {device}")
    minutes = epoch * epochs / 60
    whole = f"{minutes:.0f} minutes" if minutes < 100 else f"{minutes / 60:.1f} hours"
    faster = "; docs/gpu.md tells how to use a GPU" if device == "CPU" else ""
    yield True, (f"the final model takes about {whole} on FER-2013: {epochs} epochs of "
               f"{epoch:.0f} s{faster}")


def _dataset():
    try:
        from fer_helpers.dataset import find_dataset
        dataset = find_dataset()
        found = f"dataset: {dataset.name}, {len(dataset.pixels):,} images, {dataset.root}"
        if dataset.is_fixture:
            yield True, f"{found} (`make data` gets FER-2013; FER_DATA names it if you have it)"
        else:
            yield dataset.identity.kind != "altered", f"{found}. {dataset.identity.sentence}"
    except Exception as error:  # as above
        yield False, f"dataset: {error}"


def _places():
    for what, variable, default, room in PLACES:
        folder = course_path(variable, default)
        existing = next(path for path in (folder, *folder.parents) if os.path.exists(path))
        free = shutil.disk_usage(existing).free / 1e9
        if not existing.is_dir() or not os.access(existing, os.W_OK):
            yield False, (f"{what}: {folder} cannot be written to: change its permissions, or set "
                          f"{variable} to another folder")
        elif free < room:
            yield False, (f"{what}: {folder} has room for {free:.1f} GB and may need {room} GB: "
                          f"make room, or set {variable} to another folder")
        else:
            yield True, f"{what}: {folder} ({free:,.0f} GB free; {variable} names another folder)"


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="backslashreplace")  # a path may have letters that it lacks
    sys.exit(0 if check() else 1)
