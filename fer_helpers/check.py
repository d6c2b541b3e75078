"""Check that everything the course needs is there; runs before any package is installed."""

import os
import re
import sys
import tomllib
from importlib import metadata

from fer_helpers.emotions import COURSE, course_path


def check() -> bool:
    """Print ``[ OK ]`` or ``[FAIL]`` with the remedy for each requirement; return if all hold."""
    results = [_python(), *_packages(), _dataset(), _figures()]
    for passed, text in results:
        print("[ OK ]" if passed else "[FAIL]", text)
    return all(passed for passed, _ in results)


def _python():
    found = "{}.{}.{}".format(*sys.version_info)
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        return True, f"Python {found}"
    return False, f"Python {found}: use 3.11, 3.12 or 3.13, for example `make PYTHON=python3.12`"


def _packages():
    """Compare each direct dependency with the lock."""
    project = tomllib.loads((COURSE / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["test"]
    lock = (COURSE / "requirements.lock").read_text()
    for name in (re.match(r"[\w-]+", requirement)[0] for requirement in wanted):
        locked = re.search(rf"^{name}==(\S+)", lock, re.MULTILINE)[1]
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield False, f"{name} is missing: `pip install -r requirements.lock`"
            continue
        yield (found == locked, f"{name} {found}" + ("" if found == locked else
               f": the course was made with {locked}: `pip install -r requirements.lock`"))


def _dataset():
    try:
        from fer_helpers.dataset import find_dataset
        dataset = find_dataset()
        name = dataset.name
    except Exception as error:  # whatever it is, the reader should see it as one line
        return False, f"dataset: {error}"
    hint = " (data/README.md tells how to get FER-2013)" if dataset.is_fixture else ""
    return True, f"dataset: {name}, {len(dataset.pixels):,} images, {dataset.root}{hint}"


def _figures():
    folder = course_path("FER_FIGURES", "figures")
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if existing.is_dir() and os.access(existing, os.W_OK):
        return True, "figures can be saved"
    return False, f"{folder} cannot be written to: change its permissions, or set FER_FIGURES"
