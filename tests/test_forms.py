"""Every form of the dataset gives the same images; nothing hostile gets through."""

import gzip
import io
import os
import random
import sys
import tarfile
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fer_helpers import dataset as ds
from machinery import forms
from machinery.files import CourseError

SIZE = (48, 48)
FIXTURE = ds.Dataset(ds.FIXTURE)
ODD = "train/happy/Training_00000003.jpg"  # 64 x 64 in the fixture
VICTIM = "train/sad/Training_00001003.jpg"
FILES = {path.relative_to(ds.FIXTURE).as_posix(): path.read_bytes()
         for path in sorted(ds.FIXTURE.rglob("*.jpg"))}
FEW = {path: content for path, content in FILES.items()  # two of each class
       if path.endswith(("3.jpg", "4.jpg"))}


def zipped(files, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(buffer := io.BytesIO(), "w", method) as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return buffer.getvalue()


def tarred(files, change=lambda info: info):
    with tarfile.open(fileobj=(buffer := io.BytesIO()), mode="w") as archive:
        for path, content in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(content)
            archive.addfile(change(info), io.BytesIO(content))
    return buffer.getvalue()


def nested(times, files):
    content = zipped(files)
    for _ in range(times):
        content = zipped({"a.zip": content})
    return content


def written(folder, files):
    """Write files; return the dataset: the folder, or the one file if it has no name."""
    for path, content in files.items():
        place = folder / "x" / path if path else folder / "x"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    return ds.Dataset(folder / "x")


def under(top, files):
    return {f"{top}/{path}": content for path, content in files.items()}


def outcome(dataset, path=VICTIM):
    """Read a dataset; return the digest of one image, or why it was left out."""
    seen = ds._read(dataset.root)
    assert len(seen.index) + len(seen.faults) == 292, "every file is counted"
    found = [*seen.index[["path", "digest"]].to_numpy(), *seen.faults.to_numpy()]
    return dict(found)[path]


def refused(dataset, match):
    with pytest.raises(CourseError, match=match):
        ds._read(dataset.root)


# every form, whatever its name

OF_IMAGES = {
    "folder": lambda: FILES,
    "folder, two levels down": lambda: under("some/archive", FILES) | {"README.txt": b"x"},
    "zip": lambda: {"": zipped(FILES)},
    "zip, from Windows": lambda: {"": zipped(under(".\\fer 2013\\données", FILES))},
    "tar": lambda: {"": tarred(under(".", FILES))},
    "tar.gz": lambda: {"": gzip.compress(tarred(under("fer2013", FILES)), 1)},
    "zip in a folder": lambda: {"what.ever": zipped(FILES), "train.csv": b"emotion,pixels\n"},
    "zip in a zip": lambda: {"": zipped({"b.bin": zipped(under("a", FILES))})},
    "zips in zips in zips in a zip": lambda: {"": nested(3, FILES)},
    "tar.gz in a zip in a folder":
        lambda: {"x": zipped({"fer2013.tar.gz": gzip.compress(tarred(FILES), 1)})},
    "a second copy deeper": lambda: {"": zipped(FILES | under("images", FILES))},
    "a zip above what was unpacked": lambda: under("a/b", FILES) | {"archive.zip": zipped(FEW)},
    "a CSV file above the images": lambda: under("b", FILES) | {"a": b"emotion,pixels,Usage\n"},
    "systems' leftovers": lambda: FILES | under("train/happy", dict.fromkeys(
        ("desktop.ini", "Icon\r", "Thumbs.db", ".DS_Store", "@eaDir/a.jpg"), b"x")) | under(
        "__MACOSX", FILES),
    "a zip with other files": lambda: {"": zipped(FILES | dict.fromkeys((
        "__MACOSX/train/sad/._a.jpg", "train/.DS_Store", "README.txt", "train/sad/Thumbs.db",
        "train/notes.txt", "train/sad/empty/", "../train/sad/a.jpg", "..\\evil.jpg",
        "/etc/evil.jpg", "train/sad/deeper/a.jpg"), b"x"))},
}


@pytest.mark.parametrize("files", OF_IMAGES.values(), ids=OF_IMAGES)
def test_every_form_of_the_images(fixture_index, tmp_path, files):
    data = written(tmp_path, files())
    there = sorted(tmp_path.rglob("*"))
    pd.testing.assert_frame_equal(ds.index_images(data), fixture_index)
    np.testing.assert_array_equal(data.pixels, FIXTURE.pixels)
    assert data.faults.empty
    assert sorted(tmp_path.rglob("*")) == there, "nothing was unpacked"


MANY = {f"{number:02}": b"x" for number in range(20)}  # no more files are looked at
OF_CSV = {
    "CSV": lambda csv: {"": csv}, "CSV in a folder": lambda csv: {"deep/any name": csv},
    "CSV among many": lambda csv: under("deep", MANY) | {"deep/z/a": b"x", "z": csv},
    "zip": lambda csv: {"": zipped({"fer2013.csv": csv})},
    "csv.gz": lambda csv: {"": gzip.compress(csv, 1)},
    "the competition's tar.gz": lambda csv: {"": gzip.compress(tarred(
        {"fer2013/README": b"x", "fer2013/fer2013.csv": csv}), 1)},
    "the competition's zip": lambda csv: {"": zipped({
        "example_submission.csv": b"", "fer2013.tar.gz": gzip.compress(b"not looked at"),
        "icml_face_data.csv": csv, "test.csv": b"pixels\n", "train.csv": b"emotion,pixels\n"})},
    "tar.gz in a zip": lambda csv: {"": zipped({
        "fer2013.tar.gz": gzip.compress(tarred({"a/b/c.csv": csv}), 1)})},
    "byte order mark": lambda csv: {"": b"\xef\xbb\xbf" + csv},
    "semicolons": lambda csv: {"": csv.replace(b",", b";")},
    "an index": lambda csv: {"": b"\n".join(b"%d,%s" % (number, line) if number else b"," + line
                                            for number, line in enumerate(csv.splitlines()))},
    "quotes": lambda csv: {"": b"".join(b'"%s"\n' % line.replace(b",", b'","')
                                        for line in csv.splitlines())},
}


def same_as_the_fixture(data, rows):
    """A CSV file holds no file names, and no images of another size."""
    np.testing.assert_array_equal(data.pixels, FIXTURE.pixels[rows.index])
    index, rows = ds.index_images(data), rows.reset_index(drop=True)
    assert index["path"].is_unique
    normal, same = rows["path"] != ODD, [name for name in index if name != "path"]
    pd.testing.assert_frame_equal(index.loc[normal, same], rows.loc[normal, same])
    assert tuple(index.loc[~normal, ["width", "height"]].iloc[0]) == SIZE


@pytest.mark.parametrize("files", OF_CSV.values(), ids=OF_CSV)
def test_every_form_of_the_csv_file(fixture_index, make_csv, tmp_path, files):
    csv = make_csv(fixture_index["path"], FIXTURE.pixels).root.read_bytes()
    same_as_the_fixture(written(tmp_path, files(csv)), fixture_index)


SPELLINGS = [  # train, test, then the classes of the course in its order, and disgust
    "Train Test Happy Sad Fear Surprise Neutral Angry Disgust",
    "training testing happiness sadness fearful surprised neutral anger disgusted",
    "TRAINING VALIDATION 3 4 2 5 6 0 1",
    "train val HAPPINESS SADNESS FEAR SURPRISE NEUTRAL ANGER DISGUST",
    "Training PublicTest happy sad fear surprise neutral angry disgust",
    "train PrivateTest happy sad fear surprise neutral angry disgust",
    "train valid happy sad fear surprise neutral angry disgust",
]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_one_table_of_names(fixture_index, make_csv, tmp_path, spelling):
    names = dict(zip((*ds.SPLITS, *ds.EMOTIONS, *ds.LEFT_OUT), spelling.split(), strict=True))
    few = fixture_index[fixture_index["path"].isin(FEW)]
    files = {f"{names[split]}/{names[emotion]}/{name}": FEW[f"{split}/{emotion}/{name}"]
             for split, emotion, name in few["path"].str.split("/")}
    found = ds.index_images(written(tmp_path / "a", files))
    pd.testing.assert_frame_equal(found, few.reset_index(drop=True))
    for header in (("emotion", " Usage", " pixels"), ("Usage", "Emotion", "Pixels")):
        same_as_the_fixture(make_csv(few["path"], FIXTURE.pixels[few.index], header, names), few)


def test_a_name_stands_for_one_class_in_any_capitals():
    names = forms.Names.of(["T"], ["Happy", "Sad"], {"Sad": ("Sadness", "1")}, "t.py")
    assert names.label == {"happy": "Happy", "sad": "Sad", "sadness": "Sad", "1": "Sad"}
    with pytest.raises(CourseError, match=r"In t\.py, 'HAPPY' stands for Sad and for Happy. Rem"):
        forms.Names.of([], ["Happy", "Sad"], {"Sad": ("HAPPY",)}, "t.py")


def test_validation_and_test_together(tmp_path):
    """Files of the same name in two folders of one class: both are read."""
    again, other = (VICTIM.replace("train", split) for split in ("test", "val"))
    data = written(tmp_path, FILES | {again: FILES[VICTIM], other: FILES[ODD]})
    assert {again, "test/sad/val_sad_Training_00001003.jpg"} <= {*ds.index_images(data)["path"]}
    assert len(data.pixels) == 294


# what is no dataset is known, and told what to do about

NO_DATASETS = {
    "nothing": ({".gitkeep": b"", "train": b"a file"},
                "x holds no dataset that the course can read. Point FER_DATA"),
    "other folders": ({"": zipped({"train/a/b/x": b"x"})}, "no dataset that the course can read"),
    "FER+": ({"fer2013new.csv": b"Usage,Image name,neutral\n"}, "FER.'s votes, which the course"),
    "train.csv": ({"train.csv": b"emotion,pixels\n"}, "train.csv is a part of the compet.*Point"),
    "test.csv": ({"": b"pixels\n1 2 3\n"}, "x is a part of .*, without labels. Point FER_DATA"),
    "Git LFS": ({"": b"version https://git-lfs.github.com/spec/v1\n"}, "Run `git lfs pull`"),
    "HTML": ({"archive.zip": b"<!DOCTYPE html>"}, "archive.zip is a web page. Log in to Kaggle"),
    "parquet": ({"a.parquet": b"PAR1"}, "a.parquet is a Parquet table. Point FER_DATA"),
    "npy": ({"X.npy": b"\x93NUMPY"}, "X.npy is a NumPy array. Point FER_DATA"),
    "RAR": ({"": b"Rar!"}, "a RAR archive. Unpack it"), "7z": ({"": b"7z\xbc\xaf"}, "Unpack it"),
    "too many": (MANY | {"z/a.csv": b"emotion,pixels,Usage\n"}, "no dataset that the course can"),
    "another CSV": ({"": b"a,b,c\n"}, "no dataset that the course can read. Point FER_DATA"),
    "three levels down": (under("a/b/c", FEW), "no dataset that the course can read"),
    "UTF-16": ({"": "emotion,pixels,Usage\n".encode("utf-16")}, "no dataset that the course"),
    "no splits": ({path.partition("/")[2]: b"x" for path in FEW} | {"notes/x": b"x"},
                  "x has folders of classes, but not in both train/ and test/. Point FER_DATA"),
    "one split": ({path: b"x" for path in FEW if path.startswith("train")},
                  "x has folders of classes, but not in both train/ and test/. Point FER_DATA"),
    "cut zip": ({"": zipped(FEW)[:-200]}, "x is damaged or not whole .*Download it again"),
    "cut gzip": ({"": gzip.compress(tarred(FEW))[:-200]}, "x is damaged or not whole"),
    "cut tar": ({"": tarred(FEW)[:20_000]}, "x is damaged or not whole"),
    "two": (under("a", FEW) | {"b.csv": b"emotion,pixels,Usage\n"} | under("b", FEW),
            "x holds more than one dataset, in .*x/a and in .*x/b. Point FER_DATA at one"),
    "another class": (FILES | {"train/Contempt/1.jpg": b""}, "holds train/Contempt/, which is not "
                      "a class .*write it into the table in fer_helpers/course.py. The classes"),
    "numbers of another dataset": (FILES | {"train/7/1.jpg": b""}, "holds train/7/, which .* and "
                                   "all other numbers anew: those that stand there are fer2013"),
    "a split as a class": (FILES | {"train/test/1.jpg": b""}, "holds train/test/, which is not"),
    "no image": ({path: b"junk" for path in FILES}, r"no images in train/happy/ that can be used. "
                 r"The first of 292 others is test/angry.*not a readable image.*data/README.md"),
    "a class without images": ({path: content for path, content in FILES.items()
                                if not path.startswith("test/sad")}, "no images in test/sad/"),
}


@pytest.mark.parametrize("files, reason", NO_DATASETS.values(), ids=NO_DATASETS)
def test_what_is_no_dataset(tmp_path, files, reason):
    refused(written(tmp_path, files), reason)


# files that are not what they should be: handled, or left out and counted

def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def face():
    return Image.open(ds.FIXTURE / VICTIM).convert("L")


def scans(number):
    """A progressive JPEG of so many scans: the last one is repeated."""
    content = encoded(face(), "JPEG", progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * (
        number + 1 - content.count(b"\xff\xda")) + content[-2:]


def pictures(number):
    """A TIFF whose one directory is there again and again, each leading to the next."""
    content = encoded(face(), "TIFF")
    start = int.from_bytes(content[4:8], "little")
    table = content[start:start + 2 + 12 * int.from_bytes(content[start:start + 2], "little")]
    ends = (start + (i + 1) * (len(table) + 4) for i in range(number - 1))
    return content[:start] + b"".join(
        table + end.to_bytes(4, "little") for end in ends) + table + bytes(4)


def colours():
    """The face in red, so that a wrong weight of the colours would show."""
    return Image.merge("RGB", (face(), face().point(lambda v: v // 2), face().point(lambda v: 9)))


def see_through():
    image = colours().convert("RGBA")
    image.putalpha(Image.new("L", SIZE, 0))
    return image


DEEP = Image.fromarray(np.asarray(face()).astype(np.uint16) * 257)
BEYOND, CUT = np.asarray(face()).astype(np.int32) * 257, np.array(face())
(BEYOND[0, :2], CUT[0, :2]) = (-999, 99_999), (0, 255)
HANDLED = {  # and the grey that they become
    "RGB": (encoded(colours(), "PNG"), colours().convert("L")),
    "RGBA": (encoded(colours().convert("RGBA"), "PNG"), colours().convert("L")),
    "transparent": (encoded(see_through(), "PNG"), Image.new("L", SIZE, 255)),
    "CMYK": (encoded(Image.new("CMYK", SIZE, (0, 0, 0, 155)), "JPEG"), Image.new("L", SIZE, 100)),
    "palette": (encoded(face().quantize(256), "PNG"), face()),
    "one bit": (encoded(face().convert("1"), "PNG"), face().convert("1").convert("L")),
    "16 bit": (encoded(DEEP, "PNG"), face()), "16-bit TIFF": (encoded(DEEP, "TIFF"), face()),
    "32 bit, and beyond 16": (encoded(Image.fromarray(BEYOND), "TIFF"), CUT),
    "WEBP": (encoded(face(), "WEBP", lossless=True), face()),
    **{kind: (encoded(face(), kind), face()) for kind in ("GIF", "BMP", "TIFF")},
}
NONE = "^not a readable image"
LEFT_OUT = {  # and why
    "a text": (b"I am no image", NONE), "nothing": (b"", NONE),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 48 48\n%%EndComments\n", NONE),
    "a kind of file not expected": (encoded(face(), "PPM"), NONE),
    "a wrong checksum": (encoded(face(), "PNG")[:-20] + bytes(4) + encoded(face(), "PNG")[-16:],
                         NONE),
    "truncated": (FILES[VICTIM][:700], f"{NONE}: .*truncated"),
    "20,000 x 20,000": (encoded(Image.new("1", (20_000, 20_000)), "PNG"), f"{NONE}: .*bomb"),
    "4,097 x 10": (encoded(Image.new("L", (4097, 10)), "PNG"), "4097 x 10 pixels, more than 4096"),
    "10 x 4,097": (encoded(Image.new("L", (10, 4097)), "PNG"), "10 x 4097 pixels, more than 4096"),
    **{f"a {kind} of two pictures": (encoded(
        face(), kind, save_all=True, append_images=[face().rotate(90)]), "more than one picture")
       for kind in ("GIF", "TIFF", "WEBP", "PNG")},
    "a TIFF of 34,000 pictures": (pictures(34_000), "more than one picture"),
    "a JPEG with 101 scans": (scans(101), "more than 100 scans"),
    "a long one": (encoded(face(), "JPEG").ljust(4_000_001, b"\0"), "more than 4,000,000 bytes"),
}


@pytest.mark.parametrize("content, expected", (HANDLED | LEFT_OUT).values(), ids=HANDLED | LEFT_OUT)
def test_an_image_becomes_grey_or_is_left_out(content, expected):
    if isinstance(expected, str):
        with pytest.raises(forms.Fault, match=expected):
            forms.read_image("x", lambda: io.BytesIO(content))
    else:
        image, size, _ = forms.read_image("x", lambda: io.BytesIO(content))
        assert size == SIZE and image.mode == "L"
        np.testing.assert_array_equal(np.asarray(image), np.asarray(expected))


def test_the_largest_image_and_the_longest_file_are_read():
    for content in (encoded(Image.new("L", (4096, 4096)), "PNG"), scans(100),
                    encoded(face(), "JPEG").ljust(4_000_000, b"\0")):
        assert forms.read_image("x", lambda: io.BytesIO(content))  # noqa: B023


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_what_is_left_out_is_counted_and_so_are_modes(copy, make_zip, form):
    changed = {VICTIM: b"x", ODD: HANDLED["16 bit"][0], VICTIM[:-5] + "4.jpg": HANDLED["RGBA"][0]}
    for path, content in changed.items():
        (copy / path).write_bytes(content)
    data = make_zip(changed) if form == "zip" else ds.Dataset(copy)
    with pytest.warns(UserWarning, match=f"Left out .*: 1 files.* first is {VICTIM}.*Notebook 1"):
        index = ds.index_images(data)
    assert len(index) == 291
    assert sorted(index.loc[index["path"].isin(changed), "mode"]) == ["I;16", "RGBA"]
    assert data.faults["path"].tolist() == [VICTIM]
    assert data.faults["fault"].str.contains(NONE).all()


# folders

linux = pytest.mark.skipif(sys.platform != "linux", reason="names and links as Linux has them")


@linux
def test_awkward_names(copy, fixture_index):
    names = ["with space.jpg", "größe.jpg", "表情.jpg", "a'b\"c;d.jpg", "-rf.jpg", "b\\c.jpg"]
    for i, name in enumerate(names):
        (copy / f"train/sad/Training_0000100{i}.jpg").rename(copy / "train/sad" / name)
    os.rename(os.fsencode(copy / "train/sad/Training_00001006.jpg"),
              os.fsencode(copy / "train/sad") + b"/caf\xe9.jpg")  # no text at all
    index = ds.index_images(ds.Dataset(copy))
    assert sorted(index["digest"]) == sorted(fixture_index["digest"])
    assert ds.load_images(ds.Dataset(copy), index[index["path"] == "train/sad/größe.jpg"])
    assert len(ds.fingerprint(index)) == 16


OUTSIDE = "a link out of the dataset, or not a file"
LINKS = {  # where an image is a link to, and what is read there
    "{}/private.jpg": OUTSIDE, VICTIM[-21:]: OUTSIDE, "nowhere.jpg": OUTSIDE,
    "../../../elsewhere/abc": OUTSIDE, "../../../copy twin/abc": OUTSIDE,  # begins as copy does
    "../../../blobs/abc": VICTIM, "Training_00001004.jpg": VICTIM[:-5] + "4.jpg"}


@linux
def test_links_and_pipes_among_the_images(copy, tmp_path):
    for file in ("private.jpg", "blobs/abc", "elsewhere/abc", "copy twin/abc"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes(FILES[VICTIM])
    (copy / "elsewhere").symlink_to(tmp_path)  # beside the images, a link does not matter
    (copy / "test" / "link to a file").symlink_to(copy / VICTIM)
    for target, expected in LINKS.items():
        (copy / VICTIM).unlink()
        (copy / VICTIM).symlink_to(target.format(tmp_path))
        assert outcome(ds.Dataset(copy)) == (
            OUTSIDE if expected == OUTSIDE else outcome(FIXTURE, expected)), target
    (copy / VICTIM).unlink()
    os.mkfifo(copy / VICTIM)
    assert outcome(ds.Dataset(copy)) == OUTSIDE
    refused(ds.Dataset(copy / VICTIM), "is neither a folder nor a file .*permissions")


@pytest.mark.parametrize("top, read", [("a/b", True), ("a/b/c", False)])
def test_a_hub_keeps_files_up_to_three_folders_above(copy, tmp_path, top, read):
    (tmp_path / top).mkdir(parents=True)
    (tmp_path / "blobs").mkdir()
    (copy / VICTIM).rename(tmp_path / "blobs" / "abc")
    (copy / VICTIM).symlink_to(tmp_path / "blobs" / "abc")
    found = outcome(ds.Dataset(copy.rename(tmp_path / top / "copy")))
    assert found == (outcome(FIXTURE) if read else OUTSIDE)


@pytest.mark.parametrize("folder, place, other", [
    ("train/sad", "copy/pool/of sad", None), ("train", "copy/a/b/c", None),
    ("train", "elsewhere", "train is a link out of the dataset. Put the folder itself there"),
    ("train/sad", "copy twin", "train/sad is a link out of the dataset"),
    ("train/sad", "copy/train/happy/test", None)])
def test_a_linked_folder(copy, tmp_path, fixture_index, folder, place, other):
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (copy / folder).rename(tmp_path / place)
    (copy / folder).symlink_to(tmp_path / place)
    if other:
        refused(ds.Dataset(copy), other)
    else:
        pd.testing.assert_frame_equal(ds.index_images(ds.Dataset(copy)), fixture_index)


@linux
def test_folders_linked_in_circles(copy):
    """Each class of train holds train again, over a link; none of that is looked at."""
    for split in ("train", "training", "TRAIN"):
        for other in ("train", "training", "TRAIN"):
            (copy / split).mkdir(exist_ok=True)
            (copy / split / other).symlink_to(copy / split)
    refused(ds.Dataset(copy), "is a link out of the dataset|which is not a class")


@pytest.mark.parametrize("where, number, expected", [
    ("builtins.open", 24, r"\.jpg cannot be read now \(Too many open files\). Try again"),
    ("builtins.open", 13, "292 others is test/angry.*image: Permission denied"),
    ("os.scandir", 13, r"copy cannot be listed \(Permission denied\). Check its permissions"),
])
def test_a_trouble_of_the_moment_is_no_fault(copy, monkeypatch, where, number, expected):
    def refuse(file):
        raise OSError(number, os.strerror(number), str(file))

    with monkeypatch.context() as patch:
        patch.setattr(where, lambda file, *_: refuse(file))
        refused(ds.Dataset(copy), expected)
    assert len(ds.index_images(ds.Dataset(copy))) == 292


# packed files made to do harm

def claiming(size):
    """Change what the first member of a tar says of its size, and the checksum to fit."""
    content = bytearray(tarred({VICTIM: FILES[VICTIM]}))
    content[124:136] = (size % 2**96).to_bytes(12, "big") if size < 0 else b"%011o\0" % size
    content[124] |= 0x80 if size < 0 else 0
    content[148:156] = b" " * 8
    content[148:156] = b"%06o\0 " % sum(content[:512])
    return bytes(content)


def as_link(info):
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return info


HOSTILE = {
    "a gzip bomb": (lambda: gzip.compress(bytes(90_000_000), 1), "x holds more than 40,000,000"),
    "a zip bomb in a zip": (lambda: zipped({"a": zipped({"b": b""}) + bytes(50_000_000)}),
                            "x/a holds more than 40,000,000"),
    "a large zip": (lambda: zipped({VICTIM: bytes(100_000_001)}), "x holds more than 100,000,000"),
    "a tar of 4 GB": (lambda: claiming(2**32), "x holds more than 100,000,000 bytes.*Unpack it"),
    "a tar of less than nothing": (lambda: claiming(-1024), "x holds more than 100,000,000 bytes"),
    "a tar of links": (lambda: tarred(dict.fromkeys(FEW, b""), as_link), "holds no dataset that"),
    "a tar of many": (lambda: gzip.compress(tarred({"a": b""})[:512] * 60_000, 1),
                      "x holds more than 100,000,000 bytes"),
    "zips in zips in zips in zips in a zip": (lambda: nested(4, FEW), "no dataset that the course"),
    "long names": (lambda: zipped(dict.fromkeys(
        [f"train/sad/{'x' * 60_000}.jpg", *(f"train/sad/{i}.jpg" for i in range(420))], b"")),
        "x holds more than 100,000,000 bytes"),
}


@pytest.mark.parametrize("content, reason", HOSTILE.values(), ids=HOSTILE)
def test_packed_files_made_to_do_harm(tmp_path, monkeypatch, content, reason):
    monkeypatch.setattr(forms, "MAX_INNER", 40_000_000)
    monkeypatch.setattr(forms, "MAX_TOTAL", 100_000_000)
    data = written(tmp_path, {"": content()})
    started = time.process_time()
    assert peak_memory(lambda: refused(data, reason)) < 160_000_000, "bytes"
    assert time.process_time() - started < 5, "seconds"
    assert list(tmp_path.iterdir()) == [data.root]


def peak_memory(call):
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_zip_bomb(make_zip):
    """One member that unpacks to 200 MB, and says that it has 1,000 bytes."""
    data = make_zip({VICTIM: bytes(200_000_000)})
    assert "more than 4,000,000 bytes" in outcome(data)
    content = data.root.read_bytes()
    lie = content.replace((200_000_000).to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    assert lie != content
    data.root.write_bytes(lie)
    assert peak_memory(lambda: outcome(data)) < 50_000_000, "bytes"
    assert outcome(data).startswith("not a readable image: ")


@pytest.mark.parametrize("kind", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_unusual_way_of_packing(make_zip, kind):
    with zipfile.ZipFile(make_zip().root, "a") as archive:
        archive.writestr("train/sad/bomb.jpg", bytes(1000), compress_type=kind)
    with pytest.raises(forms.Fault, match="packed in an unusual way"):
        dict(forms.entries(Path(archive.filename), ds.NAMES))["train/sad/bomb.jpg"]()


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("twice, content, said", [
    (VICTIM, b"another", "x.zip holds train/sad/.*Training_00001003.jpg twice. Pack it again"),
    ("a.csv", b"emotion,pixels,Usage\n", "x.zip holds more than one dataset, in .*a.csv and in")])
def test_a_member_twice(make_zip, twice, content, said):
    data = make_zip()
    with zipfile.ZipFile(data.root, "a" if twice == VICTIM else "w") as file:
        file.writestr(twice, content)
        file.writestr(twice, content)
    refused(data, said)


# CSV files

ROW = f"3,{' '.join(['7'] * 2304)},Training"
LINES = [
    *((ROW.replace(" 7,", f"{more},"), f"{found} pixels, not 2,304") for more, found in (
        ("", "2,303"), (" 7 7", "2,305"), (" 7" * 100_000, "102,303"))),
    *((ROW.replace("3,7", f"3,{value}"), f"the pixel {value!r} is not a number from 0 to 255")
      for value in ("256", "-1", "7.5", "٧", "1_0", "7\0", "\ufffd")),
    *((line, None) for line in (
        ROW.replace("3,", "7,", 1), ROW.replace("3,", ",", 1), ROW.replace("Training", "Exam"),
        ROW + ",more", "3", '3,"7 7', "\0", ROW.replace("3,", "\u0663,", 1), "test" + ROW[1:])),
]


@pytest.mark.parametrize("line, reason", LINES)
def test_a_bad_row_is_left_out_and_a_bad_line_named(fixture_index, make_csv, line, reason):
    data = make_csv(fixture_index["path"], FIXTURE.pixels, more=f"{ROW}\n\n{line}\n{ROW}")
    if reason is None:
        refused(data, r"fer2013.csv, line 296, from .* to .* is not an emotion from 0 to 6.*Usage "
                      "that is Training, .*Remove the line, or download the file again")
    else:
        with pytest.warns(UserWarning, match="Left out of .*fer2013.csv: 1 files"):
            assert len(ds.index_images(data)) == 294
        assert data.faults.to_numpy().tolist() == [["train/happy/Training_00000296", reason]]


def test_a_large_csv_and_a_long_line(tmp_path, monkeypatch):
    monkeypatch.setattr(forms, "MAX_BYTES", 10_000)
    line = ROW.replace(" 7,", f"{4000 * ' 7'},")
    for text in (f"emotion,pixels,Usage\n{line}\n", "Usage,emotion,pixels\nTraining\n"):
        refused(written(tmp_path, {"": text.encode()}), "x, line 2, from .* is not an emotion")
    monkeypatch.setattr(forms, "MAX_TOTAL", 100_000)
    refused(written(tmp_path, {"": f"emotion,pixels,Usage\n{30 * (ROW + chr(10))}".encode()}),
            "x holds more than 100,000 bytes")
    forms._limit("x", 100_000, forms.MAX_TOTAL)


# thousands of damaged files

def damaged(content, rng):
    """Damage a file as disks, networks and malice do: a bit, some bytes, a piece, the end."""
    at = rng.randrange(len(content))
    to = at + rng.choice((1, 4, 20, 50, len(content)))
    bit = bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1:to]
    return content[:at] + rng.choice((bit, bit, b"", 2 * content[at:to], rng.randbytes(20),
                                      b"\0" * 4, b"\xff" * 4)) + content[to:]


@settings(max_examples=1500, deadline=None, derandomize=True, database=None)
@given(st.sampled_from([content for content, _ in HANDLED.values()] + [
    FILES[VICTIM], encoded(colours(), "JPEG", progressive=True)]),
    st.randoms(use_true_random=False))
def test_damaged_images(original, rng):
    """Read as grey, or left out for a reason that is the same each time, and soon."""
    content, started = damaged(original, rng), time.process_time()
    try:
        image, size, _ = forms.read_image("x", lambda: io.BytesIO(content))
    except forms.Fault as fault:
        assert "0x" not in str(fault), "an address: another text each time"
    else:
        assert image.mode == "L" and image.size == size and max(size) <= forms.MAX_SIDE
        # PNG carries checksums, and what is cut short is whole all the same, or left out.
        if original.startswith(b"\x89PNG") or original.startswith(content):
            assert image == forms.read_image("x", lambda: io.BytesIO(original))[0]
    assert time.process_time() - started < 2, "seconds for one file"


@pytest.mark.parametrize("form", ["zip", "tar", "tar.gz", "csv", "csv.gz"])
def test_damaged_files(tmp_path, fixture_index, make_csv, form):
    """What is accepted is right, as far as the form has checksums; all else is refused."""
    rng = random.Random(48)
    few = fixture_index[fixture_index["path"].isin(FEW)]
    content = {"zip": zipped(FEW, zipfile.ZIP_STORED), "tar": tarred(FEW),
               "csv": make_csv(few["path"], FIXTURE.pixels[few.index]).root.read_bytes()}[form[:3]]
    packed = gzip.compress(content, 1) if form.endswith("gz") else content
    refusals, others = 0, 0
    for _ in range(30):
        data = written(tmp_path, {"": damaged(packed, rng)})
        try:
            index, pixels, faults, _ = ds._read(data.root)
        except CourseError as error:
            assert str(data.root) in str(error)
            refusals += 1
            continue
        wrong = set(index["digest"]) - set(few["digest"])
        others += len(faults) + len(wrong)
        assert not wrong or form in ("tar", "csv"), "a checksum was not checked"
        if form == "csv":  # whatever was accepted is what an independent reader finds in the file
            words = data.root.read_text(errors="replace").replace('"', ",").split(",")
            values = {" ".join(word.split()) for word in words}
            assert {" ".join(map(str, image.ravel())) for image in pixels} <= values
    assert refusals > 2 and (others > 0 or form.endswith("gz"))
