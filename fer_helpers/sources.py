"""Read the three forms FER-2013 comes in: Kaggle's folder, Kaggle's zip, ``fer2013.csv``.

The files may be anything: damaged, huge, made to do harm. So nothing is unpacked, nothing outside
the dataset is opened, every size has a limit, and nothing is ever written.
"""

import csv
import errno
import io
import os
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from PIL import Image

from fer_helpers.emotions import IMAGE_SIZE, SPLITS, CourseError

MAX_BYTES = 4_000_000  # of one image file; FER-2013's have about 1,600
MAX_SIDE = 4096  # pixels
MAX_TOTAL = 1_000_000_000  # bytes of a CSV file or an unpacked zip; FER-2013's CSV has 300 MB
MAX_NAME = 255  # characters
MAX_SCANS = 100  # passes over a progressive JPEG; usual are ten
FORMATS = ("JPEG", "PNG", "GIF", "BMP")  # Pillow's names; some of its others start programs

# The competition's own names, in fer2013.csv: the meaning of 0 to 6, and of the last column.
CSV_EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
CSV_SPLITS = {"training": "train", "publictest": "test", "privatetest": "test",
              "train": "train", "test": "test"}
_GREY = {str(value): value for value in range(256)}


class DatasetError(CourseError):
    """The dataset cannot be used as it is; the message names the file and the remedy."""


class Fault(Exception):
    """One image cannot be used; the message says why. The others still can."""


class Entry(NamedTuple):
    """One image, not read yet."""

    split: str  # as the dataset spells it
    emotion: str  # as the dataset spells it
    name: str
    read: Callable[[], tuple[Image.Image, tuple[int, int], str]]  # see decode; may raise Fault


def stamp(root: Path) -> str:
    """Return a text that changes whenever a file of the dataset changes; no image is opened.

    Size and the times of the last change stand for the content. One of the times is set by the
    system and cannot be set back.
    """
    files = [file for _, _, file in _files(root)] if root.is_dir() else [root]
    seen = [(os.fspath(file), os.lstat(file)) for file in files]
    return "\n".join(f"{path} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}"
                     for path, stat in seen)


def entries(root: Path) -> list[Entry]:
    """List the images of a dataset, whatever its form.

    Raises
    ------
    DatasetError
        If the dataset as a whole cannot be read.
    """
    if root.is_dir():
        return [Entry(split, emotion, file.name, partial(_read_file, file))
                for split, emotion, file in _files(root)]
    if not os.access(root, os.R_OK):
        raise DatasetError(f"{root} cannot be read. Check its permissions.")
    if not root.is_file():  # a pipe, say: it would be waited for
        raise DatasetError(
            f"{root} is neither a folder nor a file. Point FER_DATA at the dataset.")
    return list(_csv_entries(root)) if root.suffix.casefold() == ".csv" else _zip_entries(root)


def decode(content: bytes) -> tuple[Image.Image, tuple[int, int], str]:
    """Decode an image file to 8-bit grey; return it with its size and mode in the file.

    16-bit grey is scaled down, colours become their luminance (ITU-R 601), and what is
    transparent becomes white. An orientation in the EXIF data is not applied.

    Raises
    ------
    Fault
        If it is cut short, animated, too large, or not an image. Damage in the middle of a JPEG
        goes unseen: that format has no checksum.
    """
    try:
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
    except (Fault, MemoryError):
        raise
    except Exception as error:  # Pillow lets out whatever its readers stumble over
        # Its message may hold the address of an object in memory: only the first words help.
        raise Fault("not a readable image: " + str(error).split(" <")[0]) from error


def _grey(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "I;16"):  # 0 to 65,535
        return Image.fromarray(np.rint(np.asarray(image) / 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("L")


def _visible(folder: Path | os.DirEntry) -> list[os.DirEntry]:
    """List a folder by name, without hidden files."""
    try:
        found = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise DatasetError(
            f"{os.fspath(folder)} cannot be listed ({error.strerror}). Check its permissions."
        ) from error
    return [entry for entry in found if not _hidden(entry.name)]


def _hidden(name: str) -> bool:
    """Whether an operating system put a file there, and not the dataset's maker."""
    return name.startswith(".") or name.casefold() == "thumbs.db"


def _checked(folder: os.DirEntry) -> os.DirEntry:
    """Return a folder, unless it is a link, which could lead anywhere."""
    if folder.is_symlink():
        raise DatasetError(
            f"{folder.path} is a link. Put the folder itself there, or point FER_DATA at the "
            "dataset that it belongs to."
        )
    return folder


def _files(root: Path) -> Iterator[tuple[str, str, os.DirEntry]]:
    """Yield split, class and directory entry of everything in the class folders."""
    for split in _visible(root):
        if split.name.casefold() in SPLITS and split.is_dir():
            for emotion in _visible(_checked(split)):
                if emotion.is_dir():
                    for file in _visible(_checked(emotion)):
                        yield split.name, emotion.name, file


def _read_file(file: os.DirEntry):
    if not file.is_file(follow_symlinks=False):  # a pipe would be read for ever
        raise Fault("a link or a folder, not a file")
    try:
        with open(file, "rb") as opened:
            content = opened.read(MAX_BYTES + 1)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.ENOENT, errno.EIO):
            raise DatasetError(  # it says nothing about the file
                f"{file.path} cannot be read now ({error.strerror}). Try again.") from error
        raise Fault(f"cannot be read: {error.strerror}") from error
    return decode(_limited(content))


def _limited(content: bytes) -> bytes:
    if len(content) > MAX_BYTES:
        raise Fault(f"a file of more than {MAX_BYTES:,} bytes")
    return content


def _zip_entries(root: Path) -> list[Entry]:
    try:
        archive = zipfile.ZipFile(root)
        members = [info for info in archive.infolist() if not info.is_dir()]
    except Exception as error:  # a damaged table of contents lets out many kinds
        raise DatasetError(
            f"{root} is neither a folder, nor a CSV file, nor a whole zip ({error}). Download it "
            "again, or point FER_DATA at the dataset."
        ) from error
    if sum(info.file_size for info in members) > MAX_TOTAL:
        raise DatasetError(
            f"{root} would unpack to more than {MAX_TOTAL:,} bytes. FER-2013 has about 60 million: "
            "download it again, from Kaggle."
        )
    found = {}  # by the folder that holds train and test: the top of the zip, or one below it
    for info in members:
        path = PurePosixPath(info.filename.replace("\\", "/"))
        if ".." in path.parts or path.is_absolute():
            raise DatasetError(
                f"{root} holds the name {info.filename!r}, which leads out of it. Kaggle's archive "
                "does not: download it again."
            )
        if any(map(_hidden, path.parts)) or len(path.parts) < 3:
            continue
        *home, split, emotion, name = path.parts
        if split.casefold() in SPLITS:
            found.setdefault("/".join(home), []).append(
                Entry(split, emotion, name, partial(_read_member, archive, info)))
    if len(found) > 1:
        raise DatasetError(
            f"{root} holds more than one dataset, in {' and '.join(map(repr, found))}. Unpack it, "
            "and point FER_DATA at one of them."
        )
    return next(iter(found.values()), [])


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo):
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Fault("packed in an unusual way")  # which zipfile would unpack without limit
    try:
        with archive.open(info) as opened:  # checks the CRC at the end
            content = opened.read(MAX_BYTES + 1)
    except MemoryError:
        raise
    except Exception as error:  # of zipfile, and of zlib
        raise Fault(f"cannot be unpacked: {error}") from error
    return decode(_limited(content))


def _csv_entries(root: Path) -> Iterator[Entry]:
    if root.stat().st_size > MAX_TOTAL:
        raise DatasetError(f"{root} has more than {MAX_TOTAL:,} bytes. FER-2013's CSV file has "
                           "about 300 million: download it again.")
    line = 0
    try:
        with open(root, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            header = [name.strip().casefold() for name in next(reader, [])]
            if sorted(header) != ["emotion", "pixels", "usage"]:
                raise DatasetError(
                    f"{root} has the columns {', '.join(header)[:80] or '(none)'}. Use the "
                    "competition's fer2013.csv, whose columns are emotion, pixels and Usage."
                )
            for row in reader:
                line = reader.line_num
                if row:
                    yield _csv_entry(root, line, header, row)
    except (UnicodeError, csv.Error) as error:
        raise DatasetError(
            f"{root} is not a whole CSV file in UTF-8 after line {line} ({error}). Download it "
            "again."
        ) from error


def _csv_entry(root: Path, line: int, header: list[str], row: list[str]) -> Entry:
    def wrong(what):
        return DatasetError(f"{root}, line {line}: {what}. Remove the line, or download it again.")

    if len(row) != len(header):
        raise wrong(f"{len(row)} fields instead of {len(header)}")
    fields = dict(zip(header, (field.strip() for field in row), strict=True))
    split = CSV_SPLITS.get(fields["usage"].casefold())
    if split is None:
        raise wrong(f"Usage {fields['usage'][:20]!r} is none of {', '.join(CSV_SPLITS)}")
    emotion = fields["emotion"].casefold()
    if emotion in [str(number) for number in range(7)]:
        emotion = CSV_EMOTIONS[int(emotion)]
    elif emotion not in CSV_EMOTIONS:
        raise wrong(f"emotion {emotion[:20]!r} is not a number from 0 to 6")
    return Entry(split, emotion, f"{fields['usage']}_{line:08}",
                 partial(_read_pixels, fields["pixels"]))


def _read_pixels(text: str):
    values = text.split()
    if len(values) != IMAGE_SIZE ** 2:
        raise Fault(f"{len(values):,} pixels, not {IMAGE_SIZE ** 2:,}")
    try:
        grey = bytes(map(_GREY.__getitem__, values))
    except KeyError as error:
        raise Fault(f"the pixel {error.args[0][:20]!r} is not a number from 0 to 255") from error
    size = (IMAGE_SIZE, IMAGE_SIZE)
    return Image.frombytes("L", size, grey), size, "L"
