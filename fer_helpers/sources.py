"""Read the three forms FER-2013 comes in: Kaggle's folder, Kaggle's zip, ``fer2013.csv``.

The files may be anything: damaged, huge, made to do harm. So nothing is unpacked, nothing outside
the dataset is opened, every size has a limit, and nothing is ever written. A single image that
cannot be used is a :class:`Fault`, a dataset that cannot be used as a whole a ``CourseError``.
"""

import errno
import io
import os
import stat
import zipfile
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np
from PIL import Image

from fer_helpers.course import IMAGE_SIZE, SPLITS, CourseError
from fer_helpers.identity import names_by_row

MAX_BYTES = 4_000_000  # of one image file; FER-2013's have about 1,600
MAX_SIDE = 4096  # pixels
MAX_TOTAL = 1_000_000_000  # bytes of a CSV file or an unpacked zip; FER-2013's CSV has 300 MB
MAX_SCANS = 100  # passes over a progressive JPEG; usual are ten
FORMATS = ("JPEG", "PNG", "GIF", "BMP")  # Pillow's names; some of its others start programs

# The competition's own names, in fer2013.csv: the meaning of 0 to 6, and of the last column.
CSV_EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
CSV_SPLITS = {"training": "train", "publictest": "test", "privatetest": "test",
              "train": "train", "test": "test"}
_LABELS = dict(zip("0123456", CSV_EMOTIONS, strict=True)) | {name: name for name in CSV_EMOTIONS}
_GREY = {str(value): value for value in range(256)}


Decoded = tuple[Image.Image, tuple[int, int], str]  # 8-bit grey; size and mode in the file
Entry = tuple[str, Callable[[], Decoded]]  # split/emotion/name, as spelt there; may raise Fault


class Fault(Exception):
    """One image cannot be used; the message says why. The others still can."""


def stamp(root: Path) -> str:
    """Return a text that changes whenever a file of the dataset changes; no image is opened.

    Size and the times of the last change stand for the content. One of the times is set by the
    system and cannot be set back.
    """
    files = [f"{root}/{path}" for path in _paths(root)] if root.is_dir() else [str(root)]
    return "\n".join(f"{file} {seen.st_size} {seen.st_mtime_ns} {seen.st_ctime_ns}"
                     for file, seen in zip(files, map(os.lstat, files), strict=True))


def entries(root: Path) -> list[Entry]:
    """List the images of a dataset, whatever its form: where each is, and how to read it."""
    if root.is_dir():
        return [(path, partial(read_image, path, _open_file, f"{root}/{path}"))
                for path in _paths(root)]
    if not (root.is_file() and os.access(root, os.R_OK)):  # a pipe would be waited for
        raise CourseError(f"{root} is neither a folder nor a file that can be read. Check its "
                          "permissions, or point FER_DATA at the dataset.")
    return _csv_entries(root) if root.suffix.casefold() == ".csv" else _zip_entries(root)


def read_image(path: str, opener: Callable[..., BinaryIO], *arguments) -> Decoded:
    """Open an image file and decode it to 8-bit grey.

    16-bit grey is scaled down, colours become their luminance (ITU-R 601), and what is
    transparent becomes white. An orientation in the EXIF data is not applied. Raises Fault if the
    file is cut short, animated, too large, or not an image, and CourseError if the trouble is not
    the file's. Damage in the middle of a JPEG goes unseen: that format has no checksum.
    """
    try:
        with opener(*arguments) as file:
            return _decode(file.read(MAX_BYTES + 1))
    except (Fault, MemoryError):
        raise
    except Exception as error:  # zipfile, zlib and Pillow let out whatever they stumble over
        number, reason = getattr(error, "errno", None), getattr(error, "strerror", None)
        if number not in (None, errno.EACCES, errno.EPERM, errno.ENOENT, errno.EIO, errno.EINVAL):
            raise CourseError(f"{path} cannot be read now ({reason}). Try again.") from error
        # The message may hold the address of an object in memory: only the first words help.
        raise Fault("not a readable image: " + (reason or str(error)).split(" <")[0]) from error


def _decode(content: bytes) -> Decoded:
    if len(content) > MAX_BYTES:
        raise Fault(f"a file of more than {MAX_BYTES:,} bytes")
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        if max(image.size) > MAX_SIDE:
            width, height = image.size
            raise Fault(f"{width} x {height} pixels, more than {MAX_SIDE} on a side")
        if getattr(image, "n_frames", 1) > 1:
            raise Fault(f"{image.n_frames} pictures in one file")
        if image.format == "JPEG" and content.count(b"\xff\xda") > MAX_SCANS:
            raise Fault(f"more than {MAX_SCANS} scans: it would take minutes to decode")
        if image.format == "PNG":  # its checksums are not looked at otherwise
            with Image.open(io.BytesIO(content), formats=("PNG",)) as same:
                same.verify()
        return _grey(image), image.size, image.mode


def _grey(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "I;16"):  # 0 to 65,535
        return Image.fromarray(np.rint(np.asarray(image) / 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("L")


def _paths(root: Path) -> list[str]:
    """List everything in the class folders of a folder, by name."""
    return [f"{split}/{emotion}/{name}"
            for split in _visible(root) if split.casefold() in SPLITS
            for emotion in _visible(root / split) for name in _visible(root / split / emotion)]


def _visible(folder: Path) -> list[str]:
    """List the names in a folder, without hidden ones; a file in its place has none."""
    try:
        names = sorted(os.listdir(folder))
    except NotADirectoryError:
        return []
    except OSError as error:
        raise CourseError(
            f"{folder} cannot be listed ({error.strerror}). Check its permissions.") from error
    if folder.is_symlink():  # it could lead anywhere
        raise CourseError(f"{folder} is a link. Put the folder itself there, or point FER_DATA at "
                          "the dataset that it belongs to.")
    return [name for name in names if not _hidden(name)]


def _hidden(name: str) -> bool:
    """Whether an operating system put a file there, and not the dataset's maker."""
    return name.startswith(".") or name.casefold() == "thumbs.db"


def _open_file(file: str) -> BinaryIO:
    if not stat.S_ISREG(os.lstat(file).st_mode):  # a pipe would be read for ever
        raise Fault("a link or a folder, not a file")
    return open(file, "rb")


def _zip_entries(root: Path) -> list[Entry]:
    try:
        archive = zipfile.ZipFile(root)
        members = [info for info in archive.infolist() if not info.is_dir()]
    except Exception as error:  # a damaged table of contents lets out many kinds
        raise CourseError(f"{root} is neither a folder, nor a CSV file, nor a whole zip ({error}). "
                          "Download it again, or point FER_DATA at the dataset.") from error
    # All names will take as much memory as the longest, four bytes a character.
    longest = max((len(info.filename) for info in members), default=0)
    _limit(root, sum(info.file_size + 4 * longest for info in members))
    found = defaultdict(list)  # by the folder that holds train and test: the top, or one below
    for info in members:
        parts = PurePosixPath(info.filename.replace("\\", "/")).parts
        if len(parts) > 2 and parts[-3].casefold() in SPLITS and not any(map(_hidden, parts)):
            path = "/".join(parts[-3:])
            found["/".join(parts[:-3])].append(
                (path, partial(read_image, path, _open_member, archive, info)))
    if len(found) > 1:
        homes = " and ".join(map(repr, found))
        raise CourseError(f"{root} holds more than one dataset, in {homes}. Unpack it, and point "
                          "FER_DATA at one of them.")
    return next(iter(found.values()), [])


def _open_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> BinaryIO:
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Fault("packed in an unusual way")  # which zipfile would unpack without limit
    return archive.open(info)  # checks the CRC when the end is read


def _limit(root: Path, size: int) -> None:
    if size > MAX_TOTAL:
        raise CourseError(f"{root} holds more than {MAX_TOTAL:,} bytes, FER-2013 at most 300 "
                          "million, whatever its form. Download it again.")


def _csv_entries(root: Path) -> list[Entry]:
    _limit(root, root.stat().st_size)
    paths, readers = [], []
    with open(root, encoding="utf-8-sig", errors="replace") as file:
        header = [name.casefold() for name in _fields(next(file, ""))]
        if sorted(header) != ["emotion", "pixels", "usage"]:
            raise CourseError(
                f"{root} has the columns {', '.join(header)[:80] or '(none)'}. Use the "
                "competition's fer2013.csv, whose columns are emotion, pixels and Usage.")
        for line, text in enumerate(file, start=2):
            if not text.strip():
                continue
            try:
                row = dict(zip(header, _fields(text), strict=True))
                home = f"{CSV_SPLITS[row['usage'].casefold()]}/{_LABELS[row['emotion'].casefold()]}"
            except (ValueError, KeyError) as error:
                raise CourseError(
                    f"{root}, line {line}, from {text[:20]!r} to {text[-20:]!r}, is not an emotion "
                    "from 0 to 6, pixels, and a Usage that is Training, PublicTest or PrivateTest. "
                    "Remove the line, or download the file again.") from error
            paths.append(f"{home}/{row['usage']}_{line:08}")
            readers.append(partial(_read_pixels, row["pixels"]))
    return list(zip(names_by_row(paths), readers, strict=True))


def _fields(line: str) -> list[str]:
    """Split a line of the CSV file. No field of it may hold a comma, a quote or a line break."""
    return [field.strip(' \r\n\t"') for field in line.split(",")]


def _read_pixels(text: str) -> Decoded:
    values = text.split()
    if len(values) != IMAGE_SIZE ** 2:
        raise Fault(f"{len(values):,} pixels, not {IMAGE_SIZE ** 2:,}")
    try:
        grey = bytes(map(_GREY.__getitem__, values))
    except KeyError as error:
        raise Fault(f"the pixel {error.args[0][:20]!r} is not a number from 0 to 255") from error
    image = Image.frombytes("L", (IMAGE_SIZE, IMAGE_SIZE), grey)
    return image, image.size, image.mode
