"""Get FER-2013 from Kaggle, once, and check that it is the original.

    python tools/get_data.py        # `make data` does it

kagglehub downloads it, without an account unless Kaggle asks for one, and keeps it in its cache.
The course finds it there by itself. If it does not come whole, nothing of it stays.
"""

import errno
import os
import shutil
import sys
from pathlib import Path

from fer_helpers.course import course_path
from fer_helpers.dataset import Dataset, find_dataset
from machinery.files import CourseError

NAME = "msambare/fer2013"
TRIES = 3  # kagglehub goes on where it was cut off
BY_HAND = "Or download it in a browser: data/README.md tells how."


def download() -> Path:  # type: ignore[return]  # the last try returns or raises
    """Return the folder that kagglehub keeps the dataset in; CourseError says what went wrong."""
    import kagglehub
    import requests
    from kagglehub.exceptions import DataCorruptionError

    for left in reversed(range(TRIES)):
        try:
            return Path(kagglehub.dataset_download(NAME))
        except (requests.ConnectionError, requests.Timeout, DataCorruptionError,
                requests.exceptions.ChunkedEncodingError) as error:
            if not left:
                raise CourseError(
                    f"Kaggle could not be reached, or it did not come whole, in {TRIES} tries "
                    f"({type(error).__name__}). Try again later. {BY_HAND}") from error
        except requests.HTTPError as error:
            if error.response.status_code in (401, 403):
                raise CourseError(
                    "Kaggle asks who you are. Log in at kaggle.com, make a token under Settings, "
                    "API, set KAGGLE_API_TOKEN to it (or save kaggle.json in ~/.kaggle), and try "
                    f"again. {BY_HAND}") from error
            raise CourseError(f"Kaggle answers {error.response.status_code} "
                              f"({error.response.reason}). {BY_HAND}") from error
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
            raise CourseError(
                f"It cannot be saved ({error.strerror}). It needs 0.3 GB in {_cache()}: "
                f"{'make room' if full else 'check that you may write there'}, or set "
                "KAGGLEHUB_CACHE to another folder.") from error
        except ValueError as error:  # not an archive
            raise CourseError(f"What Kaggle sent is no archive ({error}). {BY_HAND}") from error


def not_whole() -> set[Path]:
    """Return what a download has left that did not end, or has not ended yet."""
    folder = _cache() / "datasets" / NAME
    return {*folder.glob("*.archive"), *(
        version for version in folder.glob("versions/*")
        if not (folder / f"{version.name}.complete").exists())}


def _cache() -> Path:
    return course_path("KAGGLEHUB_CACHE", "~/.cache/kagglehub")


def main() -> int:
    """Say where FER-2013 is, and whether it is the original; download it if it is not there."""
    sys.stdout.reconfigure(errors="backslashreplace")
    try:
        dataset = find_dataset()
        if dataset.is_fixture:
            os.environ["KAGGLEHUB_CACHE"] = str(_cache())  # the same place from any folder
            before = not_whole()  # perhaps another process is at it
            try:
                dataset = Dataset(Path(os.path.realpath(download())))
            finally:
                for left in not_whole() - before:
                    shutil.rmtree(left) if left.is_dir() else left.unlink()
        print(f"{len(dataset.pixels):,} images in {dataset.root}. {dataset.identity.sentence}")
    except CourseError as error:
        print(error)
        return 1
    except KeyboardInterrupt:
        print("Stopped. Nothing was kept.")
        return 130
    except ModuleNotFoundError as error:
        print(f"{error}: `make setup`, or pip install kagglehub. {BY_HAND}")
        return 1
    if dataset.identity.kind != "original":
        print("To use another dataset, move this one away, or set FER_DATA.")
        return 1
    print("The notebooks run on it unless FER_DATA names another (data/fixture: the drawn faces).")
    return 0


if __name__ == "__main__":
    sys.exit(main())
