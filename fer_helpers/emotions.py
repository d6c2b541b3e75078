"""The class names, their order, and the image size: the vocabulary of the whole course."""

import os
from pathlib import Path

# The order of the report's Figure 1. A label is a position in this tuple.
EMOTIONS = ("happy", "sad", "fear", "surprise", "neutral", "angry")

# FER-2013 has a seventh class with far fewer images. The report leaves it out (section 2.2).
LEFT_OUT = ("disgust",)

SPLITS = ("train", "test")

IMAGE_SIZE = 48  # pixels: every image is 48 x 48, grey

# The folder of the course. Everything is found from here, so notebooks run from any folder.
COURSE = Path(__file__).resolve().parent.parent


def course_path(variable: str, default: str) -> Path:
    """Return the path that an environment variable names; a relative one counts from the course."""
    return COURSE / os.path.expanduser(os.environ.get(variable) or default)


class CourseError(ValueError):
    """A problem that the reader can solve: the message names the file and the remedy."""
