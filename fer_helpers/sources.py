"""Read FER-2013 whatever it comes in: folder, zip, tar, gzip, CSV, or one of them in another.

What a file is tells its content, never its name. Each container is a list of members: a path, and
how to open it. They may be damaged, huge, made to do harm. So nothing is unpacked to disk, nothing
outside the dataset is opened, and every size has a limit. An image that cannot be used is a
:class:`Fault`, a dataset that cannot be used as a whole a ``CourseError``.
"""

import errno
import gzip
import io
import os
import tarfile
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np
from PIL import Image

from fer_helpers.course import ALSO_CALLED, EMOTIONS, IMAGE_SIZE, LEFT_OUT, SPLITS, CourseError

MAX_BYTES = 4_000_000  # of one image file, or one line; FER-2013's have about 1,600, or 9,000
MAX_SIDE = 4096  # pixels
MAX_TOTAL = 1_000_000_000  # bytes of a CSV file or an unpacked archive; FER-2013's CSV has 300 MB
MAX_INNER = 300_000_000  # bytes of a zip inside another file: it is kept in memory
MAX_SCANS = 100  # passes over a progressive JPEG; usual are ten
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")  # some of Pillow's others start programs
STORES = ("blobs", ".dvc")  # where hubs and DVC keep the files to which a dataset's links lead
LEFTOVERS = ("thumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir")  # of operating systems

_NAMES = {also: name for name in (*EMOTIONS, *LEFT_OUT, *SPLITS)
          for also in (name.casefold(), *ALSO_CALLED.get(name, ()))}
_GREY = {str(value): value for value in range(256)}
_GZIP, _ZIP = b"\x1f\x8b", (b"PK\3\4", b"PK\5\6")  # how these files begin
_GET = "data/README.md tells how to get FER-2013."
_NOT_READ = {  # how other files begin: what they are, and what to do
    b"Usage,Image name": f"FER+'s votes, which come with the course; the images do not. {_GET}",
    b"emotion,pixels": "a part of the competition's data. Point FER_DATA at icml_face_data.csv or "
                       "fer2013.csv, which hold all of it.",
    b"pixels": "a part of the competition's data, without labels. Point FER_DATA at "
               "icml_face_data.csv or fer2013.csv, which hold all of it.",
    b"version https://git-lfs": "a pointer of Git LFS. Run `git lfs pull` where it lies.",
    b"<": f"a web page, perhaps Kaggle's log-in, and no dataset. {_GET}",
    b"PAR1": f"a Parquet table. The course reads images and fer2013.csv: {_GET}",
    b"\x93NUMPY": f"a NumPy array. The course reads images and fer2013.csv: {_GET}",
    b"Rar!": "a RAR archive. Unpack it, and point FER_DATA at the folder.",
    b"7z\xbc\xaf": "a 7z archive. Unpack it, and point FER_DATA at the folder."}

Decoded = tuple[Image.Image, tuple[int, int], str]  # 8-bit grey; size and mode in the file
Entry = tuple[str, Callable[[], Decoded]]  # split/emotion/name; may raise Fault
Member = tuple[str, Callable[[], BinaryIO]]  # path inside a container; may raise anything


class Fault(Exception):
    """One image cannot be used; the message says why. The others still can."""


def stamp(root: Path) -> str:
    """Return a text that changes whenever a file of the dataset changes; no file is opened.

    Size and the times of the last change stand for the content. One of the times is set by the
    system and cannot be set back.
    """
    files = [opener.args[0] for _, opener in _folder(root)] if root.is_dir() else [root]
    seen = [(file, (os.stat if os.path.exists(file) else os.lstat)(file)) for file in files]
    return "\n".join(f"{file} {was.st_size} {was.st_mtime_ns} {was.st_ctime_ns}"
                     for file, was in seen)


def entries(root: Path) -> Iterable[Entry]:
    """List the images of a dataset: ``split/emotion/name`` as the course spells it, how to read it.

    The dataset nearest to the top is taken, images before a CSV file, and both before what is
    packed once more. Raises CourseError if there is none, more than one, or an unknown class.
    """
    if not (root.is_dir() or root.is_file() and os.access(root, os.R_OK)):  # a pipe would block
        raise CourseError(f"{root} is neither a folder nor a file that can be read. Check its "
                          "permissions, or point FER_DATA at the dataset.")
    level = [(root.as_posix(), _folder(root) if root.is_dir() else [("", partial(open, root, "rb"))])]
    reasons = []  # why what was looked at cannot be used
    for _ in range(5):  # a CSV file in a tar in a gzip file in a zip in a folder
        seen = [one for where, members in level for one in _look(where, members, reasons)]
        found = sorted((place.count("/"), kind == "csv", place, rows)
                       for kind, place, rows in seen if kind != "packed")
        if len(found) > 1 and found[0][:2] == found[1][:2]:
            raise CourseError(f"{root} holds more than one dataset, in {found[0][2]} and "
                              f"{found[1][2]}. Point FER_DATA at one of them, unpacked if need be.")
        if found:
            return found[0][3]()
        level = []
        for _, place, unpack in seen:
            try:
                level.append((place, unpack()))
            except Exception as error:  # a damaged table of contents lets out many kinds
                reasons.append(error if isinstance(error, CourseError) else
                               f"{place} is damaged or not whole ({error}). Download it again.")
    raise CourseError(reasons[0] if reasons else (
        f"{root} holds no images in train/<emotion>/ and test/<emotion>/, no fer2013.csv, and no "
        f"zip or tar.gz of them. Point FER_DATA at what does. {_GET}"))


def _look(where: str, members: list[Member], reasons: list) -> Iterator[tuple[str, str, Callable]]:
    """Find datasets and packed files: ``images``, ``csv`` or ``packed``, the place, how to list."""
    homes, others = defaultdict(list), []
    for path, opener in members:
        *above, split, _, _ = ("", "", *path.split("/"))
        if _is_split(split):
            homes["/".join([where, *above[2:]])].append((path, opener))
        else:
            others.append((path, opener))
    for place, images in homes.items():
        if len({_NAMES[path.split("/")[-3].casefold()] for path, _ in images}) == len(SPLITS):
            yield "images", place, partial(_image_entries, place, images)
        else:
            reasons.append(f"{place} has no images in both train/<emotion>/ and test/<emotion>/. "
                           "Point FER_DATA at a folder that has.")
    if any(PurePosixPath(path).parent.name.casefold() in _NAMES for path, _ in others):
        reasons.append(f"{where} has folders of classes, but not in train/ and test/. Point "
                       f"FER_DATA at the folder above those two. {_GET}")
    for path, opener in sorted(others, key=lambda other: other[0].count("/"))[:20]:
        place = f"{where}/{path}".rstrip("/")
        try:
            with opener() as file:
                head = file.read(1000)
        except Exception as error:  # zipfile and zlib let out whatever they stumble over
            if not isinstance(error, Fault):  # a link or a pipe
                reasons.append(f"{place} cannot be read ({error}).")
            continue
        if head[:4] in _ZIP or head[:2] == _GZIP or head[257:262] == b"ustar":
            yield "packed", place, partial(_unpack, place, opener)
        elif {"emotion", "pixels", "usage"} <= set(_header(head)):
            yield "csv", place, partial(_csv_entries, place, opener)
        else:
            reasons += [f"{place} is {what}" for start, what in _NOT_READ.items()
                        if head.startswith(start)]


def _is_split(name: str) -> bool:
    return _NAMES.get(name.casefold()) in SPLITS


def _hidden(name: str) -> bool:
    """Whether an operating system put a file there, and not the dataset's maker."""
    return name.startswith(".") or name.casefold() in LEFTOVERS


def _folder(root: Path) -> list[Member]:
    """List the files of a folder: those near to its top, and those in class folders."""
    real = Path(os.path.realpath(root))
    inside = [real, *(above / store for above in list(real.parents)[:3] for store in STORES)]
    return list(_walk(str(root), (), tuple(f"{home}{os.sep}" for home in inside)))


def _walk(folder: str, above: tuple[str, ...], inside: tuple[str, ...]) -> Iterator[Member]:
    wanted = not above or any(map(_is_split, above[-2:]))
    try:
        if above and os.path.islink(folder) and not os.path.realpath(folder).startswith(inside):
            raise OSError(None, "it is a link out of the dataset: put the folder itself there")
        names = sorted(os.listdir(folder))
    except OSError as error:
        if wanted:
            raise CourseError(f"{folder} cannot be listed ({error.strerror}). Check it and its "
                              "permissions.") from error
        return
    for name in names:
        path, file = (*above, name), os.path.join(folder, name)
        if _hidden(name):
            continue
        if (len(path) < 3 or any(map(_is_split, path[-2:]))) and os.path.isdir(file):
            yield from _walk(file, path, inside)
        else:
            yield "/".join(path), partial(_open_file, file, inside)


def _open_file(file: str, inside: tuple[str, ...]) -> BinaryIO:
    real = os.path.realpath(file) if os.path.islink(file) else file
    if (real != file and not real.startswith(inside)) or not os.path.isfile(real):
        raise Fault("a link out of the dataset, or not a file")  # a pipe would be read for ever
    return open(real, "rb")


def _unpack(place: str, opener: Callable[[], BinaryIO]) -> list[Member]:
    """List the members of a packed file; none of them is unpacked yet."""
    file = opener()
    head = file.read(4)
    file.seek(0)
    if head[:2] == _GZIP:
        return [("", partial(_Gunzip, opener))]
    if head in _ZIP:
        if type(file) is not io.BufferedReader:  # in another file, where seeking is slow
            file = io.BytesIO(file.read(MAX_INNER))
        archive = zipfile.ZipFile(file)
        listed = ((info.filename, partial(_open_member, archive, info), info.file_size)
                  for info in archive.infolist() if not info.is_dir())
    else:
        archive = tarfile.open(fileobj=file, mode="r:")
        listed = ((info.name, partial(archive.extractfile, info), info.size)
                  for info in archive if info.isreg())
    members, total, longest = [], 0, 0
    for name, open_member, size in listed:
        parts = PurePosixPath(name.replace("\\", "/")).parts
        total, longest = total + abs(size), max(longest, len(name))
        # All names will take as much memory as the longest, four bytes a character.
        _limit(place, total + len(members) * (500 + 4 * longest))
        if not any(map(_hidden, parts)):
            members.append(("/".join(parts), open_member))
    return members


class _Gunzip(gzip.GzipFile):
    """An unpacked file: as gzip does not say how large it is, it may be read in parts only."""

    def __init__(self, opener: Callable[[], BinaryIO]) -> None:
        super().__init__(fileobj=opener())

    def read(self, size=-1):
        _limit(self.name or "a gzip file", self.tell())
        if not 0 <= size <= MAX_INNER:
            raise OSError("a part of it has an impossible size")
        return super().read(size)


def _open_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> BinaryIO:
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Fault("packed in an unusual way")  # which zipfile would unpack without limit
    return archive.open(info)  # checks the CRC when the end is read


def _limit(place: str, size: int) -> None:
    if size > MAX_TOTAL:
        raise CourseError(f"{place} holds more than {MAX_TOTAL:,} bytes, FER-2013 at most 302 "
                          "million. Unpack it, and point FER_DATA at the folder of images.")


def _image_entries(place: str, images: list[Member]) -> list[Entry]:
    found = {}
    for path, opener in images:
        split, emotion, name = path.split("/")[-3:]
        known = _NAMES.get(emotion.casefold(), SPLITS[0])
        if known in SPLITS:
            raise CourseError(
                f"{place} holds {split}/{emotion}/, which is not a class of this course. If it is "
                "another name of one, or another dataset's, write it into the table in "
                f"fer_helpers/course.py. The classes are {', '.join(EMOTIONS + LEFT_OUT)}.")
        home = f"{_NAMES[split.casefold()]}/{known}"
        if f"{home}/{name}" in found:  # in a folder of another name, as val/ beside test/
            name = f"{split}_{emotion}_{name}"
        if f"{home}/{name}" in found:
            raise CourseError(f"{place} holds {path} twice. Pack it again with one of the two.")
        found[f"{home}/{name}"] = partial(read_image, f"{place}/{split}/{emotion}/{name}", opener)
    return list(found.items())


def _csv_entries(place: str, opener: Callable[[], BinaryIO]) -> Iterator[Entry]:
    with opener() as file:
        header = _header(file.readline(MAX_BYTES))
        for number, line in enumerate(iter(partial(file.readline, MAX_BYTES), b""), start=2):
            _limit(place, file.tell())
            if not line.strip():
                continue
            try:
                row = dict(zip(header, _fields(line), strict=True))
                split, emotion = _NAMES[row["usage"].casefold()], _NAMES[row["emotion"].casefold()]
                if split not in SPLITS or emotion in SPLITS:
                    raise KeyError(split)
            except (ValueError, KeyError) as error:
                raise CourseError(
                    f"{place}, line {number}, from {line[:20]} to {line[-20:]}, is not an emotion "
                    "from 0 to 6, pixels, and a Usage that is Training, PublicTest or PrivateTest. "
                    "Remove the line, or download the file again.") from error
            yield (f"{split}/{emotion}/{row['usage']}_{number:08}",
                   partial(_read_pixels, row["pixels"]))


def _fields(line: bytes) -> list[str]:
    """Split a line of a CSV file. No field of it may hold a separator, a quote or a line break."""
    text = line.decode("utf-8-sig", "replace").replace(";", ",")
    return [field.strip(' \r\n\t"') for field in text.split(",")]


def _header(head: bytes) -> list[str]:
    return [name.casefold() for name in _fields(head.partition(b"\n")[0])]


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


def read_image(path: str, opener: Callable[[], BinaryIO]) -> Decoded:
    """Open an image file and decode it to 8-bit grey.

    16-bit grey is scaled down, colours become their luminance (ITU-R 601), and what is
    transparent becomes white. An orientation in the EXIF data is not applied. Raises Fault if the
    file is cut short, animated, too large, or not an image, and CourseError if the trouble is not
    the file's. Damage in the middle of a JPEG goes unseen: that format has no checksum.
    """
    try:
        with opener() as file:
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
    if image.mode.startswith("I"):  # 0 to 65,535
        return Image.fromarray(np.rint(np.asarray(image) / 257).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("L")
