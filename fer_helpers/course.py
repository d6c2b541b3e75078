"""What the whole course shares: the names of the classes, and its folder."""

import os
from pathlib import Path

# Another dataset (RAF-DB, AffectNet) is looked at by changing LEFT_OUT and ALSO_CALLED, no more.
# The order of the report's Figure 1. A label is a position in this tuple: the report fixes six.
EMOTIONS = ("happy", "sad", "fear", "surprise", "neutral", "angry")

# Further classes are counted and no more. FER-2013's seventh has far fewer images, and the report
# leaves it out (section 2.2). AffectNet also has "contempt".
LEFT_OUT = ("disgust",)

SPLITS = ("train", "test")

# What else folders and CSV files call them, in any capitals. The numbers are fer2013.csv's.
ALSO_CALLED = {
    "happy": ("happiness", "3"), "sad": ("sadness", "4"), "fear": ("fearful", "2"),
    "surprise": ("surprised", "5"), "neutral": ("neutrality", "6"), "angry": ("anger", "0"),
    "disgust": ("disgusted", "1"), "train": ("training",),
    "test": ("testing", "validation", "valid", "val", "publictest", "privatetest")}

IMAGE_SIZE = 48  # pixels: the report's networks see 48 x 48, grey. Other images are resized to it

# The folder of the course. Everything is found from here, so notebooks run from any folder.
COURSE = Path(__file__).resolve().parent.parent
REFERENCE = COURSE / "data" / "reference"


def course_path(variable: str, default: str) -> Path:
    """Return the path that an environment variable names; a relative one counts from the course."""
    return COURSE / os.path.expanduser(os.environ.get(variable) or default)
