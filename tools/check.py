"""Check that everything the course needs is there; runs before any package is installed.

    python tools/check.py        # `make check` does it
"""

import os
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # if nothing is installed yet

from fer_helpers.course import COURSE, course_path


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
    lock = dict(re.findall(r"^([\w.-]+)==(\S+)", (COURSE / "requirements.lock").read_text(), re.M))
    for requirement in project["dependencies"] + project["optional-dependencies"]["test"]:
        name = re.match(r"[\w-]+", requirement)[0]
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            found = "is missing"
        remedy = f": the course was made with {lock[name]}: `pip install -r requirements.lock`"
        yield found == lock[name], f"{name} {found}" + (remedy if found != lock[name] else "")


def _dataset():
    try:
        from fer_helpers.dataset import find_dataset
        dataset = find_dataset()
        found = f"dataset: {dataset.name}, {len(dataset.pixels):,} images, {dataset.root}"
        if dataset.is_fixture:
            return True, f"{found} (data/README.md tells how to get FER-2013)"
        return dataset.identity.kind != "altered", f"{found}. {dataset.identity.sentence}"
    except Exception as error:  # whatever it is, the reader should see it as one line
        return False, f"dataset: {error}"


def _figures():
    folder = course_path("FER_FIGURES", "figures")
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if existing.is_dir() and os.access(existing, os.W_OK):
        return True, "figures can be saved"
    return False, f"{folder} cannot be written to: change its permissions, or set FER_FIGURES"


if __name__ == "__main__":
    sys.exit(0 if check() else 1)
