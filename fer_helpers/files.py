"""Write files whole or not at all, and keep what took long to compute."""

import contextlib
import io
import os
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fer_helpers.emotions import CourseError, course_path


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all, whenever the program is stopped.

    Raises
    ------
    CourseError
        If the folder cannot be written to or the disk is full.
    """
    path = Path(path)
    # A name for each process, so that two can write the same file: the last one stays.
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise CourseError(
            f"{path} cannot be written ({error.strerror}). Check that the folder exists, that "
            "you may write to it, and that the disk has room."
        ) from error


def cached(name: str, key: str, compute: Callable[[], dict[str, np.ndarray]]) -> dict:
    """Return the arrays that ``compute`` returns, from the cache if it holds them under this key.

    The cache is ``.cache/`` in the course's folder, or ``FER_CACHE``. It may be deleted at any
    time: a file that is missing, damaged or made for another key is computed and written anew.
    """
    path = course_path("FER_CACHE", ".cache") / f"{name}.npz"
    # Whatever is wrong with the file, the answer is the same: compute.
    with contextlib.suppress(Exception), np.load(path, allow_pickle=False) as file:
        if str(file["key"]) == key:
            return {field: file[field] for field in file.files if field != "key"}
    arrays = compute()
    buffer = io.BytesIO()
    np.savez(buffer, key=key, **arrays)
    try:
        write_whole(path, buffer.getbuffer())
    except CourseError as error:
        warnings.warn(f"{error} Without it, the images are read anew each time.", stacklevel=2)
    return arrays
