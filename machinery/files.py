"""Files written whole or not at all, and errors that a reader can act on."""

import contextlib
import os
from pathlib import Path


class CourseError(ValueError):
    """A problem that the reader can solve: the message names the file and the remedy."""

    def _render_traceback_(self) -> list[str]:
        """In a notebook, the message is enough (IPython calls this)."""
        return [f"{type(self).__name__}: {self}"]


class Stopped(KeyboardInterrupt):
    """The reader has interrupted a training; the message says what is kept."""

    _render_traceback_ = CourseError._render_traceback_


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file so that it is there whole or not at all, whenever the program is stopped.

    Raises CourseError if the folder cannot be written to or the disk is full.
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
