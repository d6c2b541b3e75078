"""Read labelled images whatever they come in: folder, zip, tar, gzip, CSV, one in another.

What a file is tells its content, never its name. A container is a list of members: their paths,
and how to open each. They may be damaged, huge, made to do harm: nothing is unpacked to disk,
nothing outside the dataset is opened, every size has a limit. An image that cannot be used is a
:class:`Fault`, a dataset that cannot be used as a whole a ``CourseError``.
"""

import contextlib
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
from typing import IO, NamedTuple

import numpy as np
from PIL import Image

from machinery.files import CourseError

MAX_BYTES = 4_000_000  # of one image file, or one line; FER-2013's have about 1,600, or 9,000
MAX_SIDE = 4096  # pixels
MAX_TOTAL = 1_000_000_000  # bytes of a CSV file or an unpacked archive; FER-2013's CSV has 300 MB
MAX_INNER = 400_000_000  # bytes unpacked from gzip, or packed in another file: kept in memory
CSV_SIDE = 48  # pixels of the images in fer2013.csv
MAX_SCANS = 100  # passes over a progressive JPEG; usual are ten
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")  # some of Pillow's others start programs
STORES = ("blobs", ".dvc")  # where hubs and DVC keep the files to which a dataset's links lead
LEFTOVERS = ("thumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir", "lost+found")
GZIP = b"\x1f\x8b"  # how these files begin

_GREY = {str(value): value for value in range(256)}
_USE = ("Point FER_DATA at the folder that holds train/ and test/, at Kaggle's archive.zip, or at "
        "fer2013.csv: data/README.md tells how to get FER-2013.")
_NOT_READ = {  # how other files begin: what they are, and what to do
    b"Usage,Image name": f"FER+'s votes, which the course has, without the images. {_USE}",
    b"emotion,pixels": f"a part of the competition's data. {_USE}",
    b"pixels": f"a part of the competition's data, without labels. {_USE}",
    b"version https://git-lfs": "a pointer of Git LFS. Run `git lfs pull` where it lies.",
    b"<": "a web page. Log in to Kaggle with a browser, and download the dataset there.",
    b"PAR1": f"a Parquet table. {_USE}", b"\x93NUMPY": f"a NumPy array. {_USE}",
    b"Rar!": "a RAR archive. Unpack it, and point FER_DATA at the folder.",
    b"7z\xbc\xaf": "a 7z archive. Unpack it, and point FER_DATA at the folder."}

Decoded = tuple[Image.Image, tuple[int, int], str]  # 8-bit grey; size and mode in the file
Entry = tuple[str, Callable[[], Decoded]]  # split/label/name; may raise Fault
Found = tuple[int, bool, str, Callable[[], Iterable[Entry]]]  # see _search
Member = tuple[tuple[str, ...], Callable[[], IO[bytes]]]  # the parts of a path; may raise anything


class Names(NamedTuple):
    """What splits and classes are called, in any capitals, by folders and CSV files."""

    split: dict[str, str]  # from each name, in small letters, to the one that the user expects
    label: dict[str, str]
    table: str  # the file in which somebody can add one

    @classmethod
    def of(cls, splits: Iterable[str], labels: Iterable[str], also: dict[str, tuple[str, ...]],
           table: str) -> "Names":
        """Make the tables from what the user calls them, and what others call them as well.

        Raises CourseError if two have a name in common.
        """
        found: list[dict[str, str]] = [{}, {}]
        for names, owners in zip((splits, labels), found, strict=True):
            for name in names:
                for other in (name, *also.get(name, ())):
                    if owners.setdefault(other.casefold(), name) != name:
                        raise CourseError(f"In {table}, {other!r} stands for {name} and for "
                                          f"{owners[other.casefold()]}. Remove one of the two.")
        return cls(found[0], found[1], table)


class Fault(Exception):
    """One image cannot be used; the message says why. The others still can."""


def entries(root: Path, names: Names) -> Iterable[Entry]:
    """List the images of a dataset: ``split/label/name``, spelt as ``names`` says, how to read it.

    The dataset nearest to the top is taken, images before a CSV file, and both before what is
    packed once more. Raises CourseError if there is none, more than one, or an unknown class.
    """
    if not (root.is_dir() or (root.is_file() and os.access(root, os.R_OK))):  # a pipe would block
        raise CourseError(f"{root} is neither a folder nor a file that can be read. Check its "
                          "permissions, or point FER_DATA at the dataset.")
    reasons: list[str] = []  # why what was looked at is no dataset
    whole: Member = (), partial(open, root, "rb")  # type: ignore[assignment]  # by the mode
    members = _folder(root, names) if root.is_dir() else [whole]
    found = sorted(_search(root.as_posix(), members, names, reasons), key=lambda one: one[:3])
    reasons.append(f"{root} holds no dataset that the course can read. {_USE}")
    if not found:
        raise CourseError(reasons[0])
    if len(found) > 1 and found[0][:2] == found[1][:2]:
        raise CourseError(f"{root} holds more than one dataset, in {found[0][2]} and in "
                          f"{found[1][2]}. Point FER_DATA at one of them, unpacked if need be.")
    return found[0][3]()


def _search(where: str, members: Iterable[Member], names: Names, reasons: list[str],
            depth: int = 0) -> list[Found]:
    """Find datasets: how many slashes deep, whether a CSV file, where, how to list the images."""
    homes: dict[str, list[Member]] = defaultdict(list)
    others: list[Member] = []
    found: list[Found] = []
    packed = []
    for parts, opener in members:
        sorted_in = len(parts) > 2 and parts[-3].casefold() in names.split
        (homes["/".join([where, *parts[:-3]])] if sorted_in else others).append((parts, opener))
    for place, images in homes.items():
        if {names.split[parts[-3].casefold()] for parts, _ in images} == set(names.split.values()):
            found.append((place.count("/"), False, place, partial(_images, place, images, names)))
    if homes or any(name.casefold() in (names.split | names.label)
                    for parts, _ in others for name in parts[-2:-1]):
        reasons.append(f"{where} has folders of classes, but not in both train/ and test/. {_USE}")
    for parts, opener in sorted(others, key=lambda other: len(other[0]))[:20]:
        place = "/".join([where, *parts])
        try:
            with opener() as file:
                head = file.read(1000)
            if head[:2] in (b"PK", GZIP) or head[257:262] == b"ustar":
                packed.append((place, opener))
            elif {"emotion", "pixels", "usage"} <= set(_header(head)):
                found.append((place.count("/"), True, place, partial(_rows, place, opener, names)))
            reasons += [f"{place} is {what}" for start, what in _NOT_READ.items()
                        if head.startswith(start)]
        except Exception as error:  # zipfile and zlib let out whatever they stumble over
            reasons.append(f"{place} cannot be read ({error}). {_USE}")
    for place, opener in packed if depth < 4 and not found else []:
        try:
            found += _search(place, _unpack(place, opener), names, reasons, depth + 1)
        except Exception as error:
            reasons.append(str(error) if isinstance(error, CourseError) else
                           f"{place} is damaged or not whole ({error}). Download it again.")
    return found


def visible(name: str) -> bool:
    """Whether the dataset's maker put a file there, and not an operating system."""
    return not (name.startswith(".") or name.casefold() in LEFTOVERS)


def _folder(root: Path, names: Names) -> Iterator[Member]:
    """List the files of a folder: those near to its top, and those in class folders."""
    real = os.path.realpath(root)
    stores = (above / store for above in list(Path(real).parents)[:3] for store in STORES)
    inside = tuple(f"{home}{os.sep}" for home in (real, *stores))

    def refuse(error):
        raise CourseError(f"{error.filename} cannot be listed ({error.strerror}). Check its "
                          "permissions.") from error

    for folder, below, files in os.walk(root, onerror=refuse, followlinks=True):
        above = Path(folder).relative_to(root).parts
        direct = os.path.realpath(folder) == os.path.join(real, *above)  # through no link
        below[:] = [name for name in sorted(below) if visible(name) and (
            len(above) < 2 or {name.casefold(), above[-1].casefold()} & set(names.split))]
        for name in [name for name in below if os.path.islink(f"{folder}/{name}")]:
            if not {part.casefold() for part in (name, *above[-1:])} & set(names.split):
                below.remove(name)
            elif not direct or not os.path.realpath(f"{folder}/{name}").startswith(inside):
                raise CourseError(f"{folder}/{name} is a link out of the dataset. Put the folder "
                                  "itself there, or point FER_DATA at the dataset it belongs to.")
        for name in sorted(files):
            if visible(name):
                yield (*above, name), partial(_open_file, f"{folder}/{name}", inside)


def _open_file(file: str, inside: tuple[str, ...]) -> IO[bytes]:
    real = os.path.realpath(file) if os.path.islink(file) else file
    if (real != file and not real.startswith(inside)) or not os.path.isfile(real):
        raise Fault("a link out of the dataset, or not a file")  # a pipe would be read for ever
    return open(real, "rb")


def _unpack(place: str, opener: Callable[[], IO[bytes]]) -> Iterator[Member]:
    """List the members of a packed file; those of a zip are not unpacked yet."""
    file = opener()
    start = file.read(2)
    file.seek(0)
    if start == GZIP or type(file) is not io.BufferedReader:  # or in another file: slow to seek in
        content = (gzip.GzipFile(fileobj=file) if start == GZIP else file).read(MAX_INNER + 1)
        _limit(place, len(content), MAX_INNER)
        file = io.BytesIO(content)
    if start == GZIP:
        yield (), partial(io.BytesIO, content)
        return
    if start == b"PK":
        packed = zipfile.ZipFile(file)
        listed = ((info.filename, info.file_size, partial(_open_member, packed, info))
                  for info in packed.infolist() if not info.is_dir())
    else:
        tape = tarfile.TarFile(fileobj=file)
        listed = ((info.name, info.size, partial(tape.extractfile, info))  # type: ignore
                  for info in tape if info.isreg())  # others would be None
    total = longest = 0
    for number, (name, size, open_member) in enumerate(listed):
        # A size below 0 counts as huge. All names will take as much memory as the longest.
        total, longest = total + size % 2**63, max(longest, len(name))
        _limit(place, total + number * (10_000 + 4 * longest), MAX_TOTAL)
        parts = PurePosixPath(name.replace("\\", "/")).parts
        if all(map(visible, parts)):
            yield parts, open_member


def _open_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes]:
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Fault("packed in an unusual way")  # which zipfile would unpack without limit
    return archive.open(info)  # checks the CRC when the end is read


def _limit(place: str, size: int, most: int) -> None:
    if size > most:
        raise CourseError(f"{place} holds more than {most:,} bytes, FER-2013 at most 302 million. "
                          "Unpack it, and point FER_DATA at what comes out.")


def _images(place: str, images: list[Member], names: Names) -> list[Entry]:
    found = {}
    for (*_, split, label, name), opener in images:
        if label.casefold() not in names.label:
            numbers = (", and all other numbers anew: those that stand there are fer2013.csv's"
                       if label.isdigit() else "")
            raise CourseError(
                f"{place} holds {split}/{label}/, which is not a class of this course. If it is "
                "another name of one, or another dataset's, write it into the table in "
                f"{names.table}{numbers}. The classes are "
                f"{', '.join(dict.fromkeys(names.label.values()))}.")
        home = f"{names.split[split.casefold()]}/{names.label[label.casefold()]}"
        if f"{home}/{name}" in found:  # in a folder of another name, as val/ beside test/
            name = f"{split}_{label}_{name}"
        if f"{home}/{name}" in found:
            raise CourseError(f"{place} holds {split}/{label}/{name} twice. Pack it again with "
                              "one of the two.")
        found[f"{home}/{name}"] = partial(read_image, f"{place}/{split}/{label}/{name}", opener)
    return list(found.items())


def _rows(place: str, opener: Callable[[], IO[bytes]], names: Names) -> Iterator[Entry]:
    with opener() as file:
        header = _header(file.readline(MAX_BYTES))
        for number, line in enumerate(iter(partial(file.readline, MAX_BYTES), b""), start=2):
            if not line.strip():
                continue
            _limit(place, file.tell(), MAX_TOTAL)
            row = dict(zip(header, fields := _fields(line), strict=False))
            split = names.split.get(row.get("usage", "").casefold())
            label = names.label.get(row.get("emotion", "").casefold())
            if split is None or label is None or len(fields) != len(header):
                raise CourseError(
                    f"{place}, line {number}, from {line[:20]!r} to {line[-20:]!r}, is not an "
                    "emotion from 0 to 6, pixels, and a Usage that is Training, PublicTest or "
                    "PrivateTest. Remove the line, or download the file again.")
            yield (f"{split}/{label}/{row['usage']}_{number:08}",
                   partial(_read_pixels, row["pixels"]))


def _header(head: bytes) -> list[str]:
    return [name.casefold() for name in _fields(head.partition(b"\n")[0])]


def _fields(line: bytes) -> list[str]:
    """Split a line of a CSV file. No field of it may hold a separator, a quote or a line break."""
    text = line.decode("utf-8-sig", "replace").replace(";", ",")
    return [field.strip(' \r\n\t"') for field in text.split(",")]


def _read_pixels(text: str) -> Decoded:
    values = text.split()
    if len(values) != CSV_SIDE ** 2:
        raise Fault(f"{len(values):,} pixels, not {CSV_SIDE ** 2:,}")
    try:
        grey = bytes(map(_GREY.__getitem__, values))
    except KeyError as error:
        raise Fault(f"the pixel {error.args[0][:20]!r} is not a number from 0 to 255") from error
    image = Image.frombytes("L", (CSV_SIDE, CSV_SIDE), grey)
    return image, image.size, image.mode


def read_image(path: str, opener: Callable[[], IO[bytes]]) -> Decoded:
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
            raise Fault("{} x {} pixels, more than {} on a side".format(*image.size, MAX_SIDE))
        with contextlib.suppress(EOFError):  # to count the pictures may take minutes
            image.seek(1)
            raise Fault("more than one picture in the file")
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
