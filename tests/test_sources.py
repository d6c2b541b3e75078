"""Every form of the dataset gives the same images; nothing hostile gets through."""

import io
import os
import random
import tempfile
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fer_helpers import dataset as ds
from fer_helpers import sources
from fer_helpers.course import CourseError

SIZE = (48, 48)
FIXTURE = ds.Dataset(ds.FIXTURE)
ODD = "train/happy/Training_00000003.jpg"  # 64 x 64 in the fixture
VICTIM = "train/sad/Training_00001003.jpg"


def outcome(dataset, path=VICTIM):
    """Read a dataset; return the digest of one image, or why it was left out."""
    seen = ds._read_all(dataset.root)
    assert len(seen["path"]) + len(seen["fault"]) == 292, "every file is counted"
    found = dict(zip(seen["path"], seen["digest"], strict=True))
    return (found | dict(zip(seen["fault_path"], seen["fault"], strict=True)))[path]


def refused(dataset, match):
    with pytest.raises(CourseError, match=match):
        ds._read_all(dataset.root)


# the three forms

@pytest.mark.parametrize("top", ["", "./", "archive/", "fer 2013/données/"])
def test_a_zip_is_the_folder(fixture_index, make_zip, top):
    data = make_zip(top=top)
    pd.testing.assert_frame_equal(ds.index_images(data), fixture_index)
    np.testing.assert_array_equal(data.pixels, FIXTURE.pixels)


@pytest.mark.parametrize("spelling", [
    {},
    {"header": ("emotion", " Usage", " pixels"), "usage": ("Training", "PrivateTest")},
    {"header": ("Usage", "Emotion", "Pixels"), "usage": ("train", "test"), "label": str},
])
def test_a_csv_is_the_folder(fixture_index, make_csv, spelling):
    data = make_csv(fixture_index["path"], FIXTURE.pixels, **spelling)
    np.testing.assert_array_equal(data.pixels, FIXTURE.pixels)
    index = ds.index_images(data)
    assert index["path"].is_unique
    # A CSV holds no file names, and no images of another size.
    same = [name for name in ds.COLUMNS if name != "path"]
    normal = fixture_index["path"] != ODD
    pd.testing.assert_frame_equal(index.loc[normal, same], fixture_index.loc[normal, same])
    assert tuple(index.loc[~normal, ["width", "height"]].iloc[0]) == SIZE


def test_fer_data_accepts_each_form(fixture_index, make_zip, make_csv, monkeypatch):
    for made in (make_zip(), make_csv(fixture_index["path"], FIXTURE.pixels)):
        monkeypatch.setenv("FER_DATA", str(made.root))
        data = ds.find_dataset()
        assert len(ds.index_images(data)) == 292
        assert data.name == f"custom-{made.root.stem}"


def test_csv_labels_are_the_competitions(tmp_path):
    # 0 to 6 as fer2013.csv numbers them, not as this course does.
    rows = "".join(f'{i},"{" ".join(["7"] * 2304)}",{usage}\r\n' for i in range(7)
                   for usage in ("Training", "PublicTest"))
    (tmp_path / "x.csv").write_text(f"\ufeffemotion,pixels,Usage\r\n{rows}\r\n", newline="")
    index = ds.index_images(ds.Dataset(tmp_path / "x.csv"))
    by_line = index.assign(line=index["path"].str[-8:].astype(int)).sort_values("line")
    assert by_line["line"].tolist() == list(range(2, 16))
    assert by_line["emotion"].tolist()[::2] == [
        "angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]
    assert by_line["split"].tolist() == ["train", "test"] * 7


# files that are not what they should be: handled, or left out and counted

def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def face():
    return Image.open(ds.FIXTURE / VICTIM).convert("L")


def scans(number):
    """A progressive JPEG whose last scan is repeated."""
    content = encoded(face(), "JPEG", progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * number + content[-2:]


LEFT_OUT = {
    "a text": (b"I am no image", "not a readable image"),
    "nothing": (b"", "not a readable image"),
    "truncated": ((ds.FIXTURE / VICTIM).read_bytes()[:700], "not a readable image: .*truncated"),
    "20,000 x 20,000 pixels": (encoded(Image.new("1", (20_000, 20_000)), "PNG"),
                               "not a readable image: .*decompression bomb"),
    "5,000 x 10 pixels": (encoded(Image.new("L", (5000, 10)), "PNG"),
                          "5000 x 10 pixels, more than 4096"),
    "an animation": (encoded(face(), "GIF", save_all=True, append_images=[face().rotate(90)]),
                     "2 pictures in one file"),
    "a kind of file not expected": (encoded(face(), "TIFF"), "not a readable image"),
    "a wrong checksum": (encoded(face(), "PNG")[:-20] + bytes(4) + encoded(face(), "PNG")[-16:],
                         "not a readable image"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 48 48\n%%EndComments\n",
                   "not a readable image"),
    "a JPEG with 200 scans": (scans(200), "more than 100 scans"),
    "5 MB": (encoded(face(), "JPEG") + bytes(5_000_000), "more than 4,000,000 bytes"),
}


@pytest.mark.parametrize("content, reason", LEFT_OUT.values(), ids=LEFT_OUT)
@pytest.mark.parametrize("form", ["folder", "zip"])
def test_a_bad_image_is_left_out_and_counted(copy, make_zip, form, content, reason):
    (copy / VICTIM).write_bytes(content)
    data = make_zip({VICTIM: content}) if form == "zip" else ds.Dataset(copy)
    with pytest.warns(UserWarning, match=f"Left out .*: 1 files.* first is {VICTIM}.*Notebook 1"):
        assert len(ds.index_images(data)) == 291
    assert data.faults["path"].tolist() == [VICTIM]
    assert data.faults["fault"].str.contains(reason).all(), data.faults["fault"][0]


def colours():
    """The face in red, so that a wrong weight of the colours would show."""
    return Image.merge("RGB", (face(), face().point(lambda v: v // 2), face().point(lambda v: 9)))


def see_through():
    image = colours().convert("RGBA")
    image.putalpha(Image.new("L", SIZE, 0))
    return image


HANDLED = {
    "RGB": (encoded(colours(), "PNG"), colours().convert("L")),
    "RGBA": (encoded(colours().convert("RGBA"), "PNG"), colours().convert("L")),
    "transparent": (encoded(see_through(), "PNG"), Image.new("L", SIZE, 255)),
    "CMYK": (encoded(Image.new("CMYK", SIZE, (0, 0, 0, 155)), "JPEG"), Image.new("L", SIZE, 100)),
    "palette": (encoded(face().quantize(256), "PNG"), face()),
    "16 bit": (encoded(Image.fromarray(np.asarray(face()).astype(np.uint16) * 257), "PNG"), face()),
    "one bit": (encoded(face().convert("1"), "PNG"), face().convert("1").convert("L")),
    "GIF": (encoded(face(), "GIF"), face()),
    "BMP": (encoded(face(), "BMP"), face()),
}


@pytest.mark.parametrize("content, expected", HANDLED.values(), ids=HANDLED)
def test_other_kinds_of_images_become_grey(content, expected):
    image, size, _ = sources.read_image("x", io.BytesIO, content)
    assert size == SIZE and image.mode == "L"
    np.testing.assert_array_equal(np.asarray(image), np.asarray(expected))


def test_the_mode_in_the_file_is_counted(make_zip):
    index = ds.index_images(make_zip({VICTIM: HANDLED["16 bit"][0], ODD: HANDLED["RGBA"][0]}))
    assert index.set_index("path")["mode"][[VICTIM, ODD]].tolist() == ["I;16", "RGBA"]


# folders

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


def test_links_folders_and_pipes_among_the_images(copy, tmp_path):
    face().save(tmp_path / "private.jpg")
    for target in (tmp_path / "private.jpg", Path(VICTIM).name, "nowhere.jpg",
                   "Training_00001002.jpg", None, "a pipe"):
        (copy / VICTIM).unlink()
        if target is None:
            (copy / VICTIM).mkdir()
        elif target == "a pipe":
            os.mkfifo(copy / VICTIM)
        else:
            (copy / VICTIM).symlink_to(target)
        assert outcome(ds.Dataset(copy)) == "a link or a folder, not a file"
        if target is None:
            (copy / VICTIM).rmdir()
            (copy / VICTIM).touch()


@pytest.mark.parametrize("folder", ["train", "train/sad"])
def test_a_linked_folder(copy, tmp_path, folder):
    (copy / folder).rename(tmp_path / "elsewhere")
    (copy / folder).symlink_to(tmp_path / "elsewhere")
    refused(ds.Dataset(copy), rf"{folder} is a link.*Put the folder itself")


def test_a_link_to_the_dataset_or_beside_it_does_not_matter(copy, tmp_path, monkeypatch):
    (copy / "elsewhere").symlink_to(tmp_path)
    (copy / "test" / "link to a file").symlink_to(copy / VICTIM)
    (tmp_path / "link").symlink_to(copy)
    monkeypatch.setenv("FER_DATA", str(tmp_path / "link"))
    assert outcome(ds.find_dataset()) == outcome(FIXTURE)
    monkeypatch.delenv("FER_DATA")
    monkeypatch.setattr(ds, "FER2013", [tmp_path / "link"])
    assert outcome(ds.find_dataset()) == outcome(FIXTURE)


@pytest.mark.parametrize("name", ["x.zip", "x.csv", "x"])
def test_a_pipe_as_dataset_is_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    refused(ds.Dataset(tmp_path / name), rf"{name} is neither a folder nor a file")


def test_a_zip_without_permission(make_zip, monkeypatch):
    monkeypatch.setattr(sources.os, "access", lambda *_: False)
    refused(make_zip(), r"x.zip is neither a folder nor a file that can be read.*permissions")


@pytest.mark.parametrize("chosen", ["~nobody_of_this_name/x", "x" * 300, "loop"])
def test_paths_that_lead_nowhere(tmp_path, monkeypatch, chosen):
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.setenv("FER_DATA", str(tmp_path / "loop") if chosen == "loop" else chosen)
    with pytest.raises(CourseError, match="No dataset at"):
        ds.find_dataset()


def test_nothing_that_can_be_used(copy):
    for path in copy.rglob("*.jpg"):
        path.write_bytes(b"junk")
    refused(ds.Dataset(copy), r"None of the 292 files of .* can be used.*Download")


def test_a_trouble_of_the_moment_is_no_fault_of_the_file(copy, monkeypatch):
    def busy(*_):
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr("builtins.open", busy)
        refused(ds.Dataset(copy), r"\.jpg cannot be read now \(Too many open files\). Try again")
    assert len(ds.index_images(ds.Dataset(copy))) == 292


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs POSIX permissions")
def test_a_file_and_a_folder_without_permission(make_zip):
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to others
        data = ds.Dataset(Path(folder))
        with zipfile.ZipFile(make_zip().root) as archive:
            archive.extractall(folder)
        os.chmod(folder, 0o755)
        user = os.geteuid()

        def as_another(path, then):
            os.chmod(path, 0)
            try:
                if user == 0:  # root may read everything
                    os.seteuid(65534)
                return then()
            finally:
                os.seteuid(user)
                os.chmod(path, 0o755)

        assert as_another(data.root / VICTIM, lambda: outcome(data)).endswith(
            "image: Permission denied")
        as_another(data.root / "test" / "fear",
                   lambda: refused(data, r"fear cannot be listed \(Perm.*Check its permissions"))


# zips

def test_a_zip_bomb(make_zip, monkeypatch):
    # One member that unpacks to 200 MB, and says that it has 1,000 bytes.
    data = make_zip({VICTIM: bytes(200_000_000)})
    assert "more than 4,000,000 bytes" in outcome(data)
    content = data.root.read_bytes()
    lie = content.replace((200_000_000).to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    assert lie != content
    data.root.write_bytes(lie)
    tracemalloc.start()
    assert outcome(data).startswith("not a readable image: ")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50_000_000, "bytes"
    for kind in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        with zipfile.ZipFile(make_zip().root, "a") as archive:
            archive.writestr("train/sad/bomb.jpg", bytes(1000), compress_type=kind)
        with pytest.raises(sources.Fault, match="packed in an unusual way"):
            dict(sources.entries(data.root))["train/sad/bomb.jpg"]()
    monkeypatch.setattr(sources, "MAX_TOTAL", 300_000)
    refused(data, r"x.zip holds more than 300,000 bytes.*Download it again")


def test_a_zip_of_long_names(make_zip):
    """NumPy keeps all names as long as the longest: 4,492 x 60,000 x 4 bytes are too many."""
    names = [f"train/sad/{'x' * 60_000}.jpg", *(f"train/sad/{i}.jpg" for i in range(4199))]
    refused(make_zip(dict.fromkeys(names, b"")), "holds more than 1,000,000,000 bytes")


@pytest.mark.parametrize("name", ["__MACOSX/train/sad/._a.jpg", "train/.DS_Store", "README.txt",
                                  "train/sad/Thumbs.db", "train/notes.txt", "../train/sad/a.jpg",
                                  "..\\evil.jpg", "/etc/evil.jpg", "train/sad/deeper/a.jpg"])
def test_what_else_a_zip_holds_does_not_matter(make_zip, tmp_path, name):
    assert outcome(make_zip({name: b"x"})) == outcome(FIXTURE)
    assert [path.name for path in tmp_path.iterdir()] == ["x.zip"], "nothing was unpacked"


def test_other_zips(make_zip):
    refused(make_zip({f"again/{VICTIM}": b""}), r"more than one dataset, in '' and 'again'")
    data = make_zip()
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(data.root, "a") as file:
        file.writestr(VICTIM, b"another")
    refused(data, rf"x.zip holds {VICTIM} twice.*Remove one")
    with zipfile.ZipFile(data.root, "w") as file:
        file.writestr("fer2013.csv", b"x")
    refused(data, r"no images in train/happy/.*unpack it again")
    data.root.write_bytes(b"PK\x03\x04 not really")
    refused(data, r"x.zip is neither a folder.*nor a whole zip")


# CSV files

ROW = f"3,{' '.join(['7'] * 2304)},Training"


@pytest.mark.parametrize("line, reason", [
    (ROW.replace(" 7,", ","), "2,303 pixels, not 2,304"),
    (ROW.replace(" 7,", " 7 7,"), "2,305 pixels, not 2,304"),
    ("3," + "7 " * 100_000 + ",Training", "100,000 pixels, not 2,304"),
    *((ROW.replace("3,7", f"3,{value}"), f"the pixel {value!r} is not a number from 0 to 255")
      for value in ("256", "-1", "7.5", "٧", "1_0", "7\0", "\ufffd")),
])
def test_a_bad_row_is_left_out_and_counted(fixture_index, make_csv, line, reason):
    data = make_csv(fixture_index["path"], FIXTURE.pixels, more=f"{line}\n\n{ROW}\n")
    with pytest.warns(UserWarning, match="Left out of .*fer2013.csv: 1 files"):
        assert len(ds.index_images(data)) == 293
    assert data.faults.to_numpy().tolist() == [["train/happy/Training_00000294", reason]]


@pytest.mark.parametrize("line", [
    ROW.replace("3,", "7,", 1), ROW.replace("3,", ",", 1), ROW.replace("Training", "Exam"),
    ROW + ",more", "3", '3,"7 7', "\0", ROW.replace("3,", "\u0663,", 1)])
def test_a_bad_csv_names_the_line(fixture_index, make_csv, line):
    data = make_csv(fixture_index["path"], FIXTURE.pixels, more=f"{ROW}\n\n{line}\n{ROW}")
    refused(data, r"fer2013.csv, line 296, from .* to .* is not an emotion from 0 to 6.*Usage that "
                  "is Training, .*Remove the line, or download the file again")


@pytest.mark.parametrize("content, found", [
    (b"", r"\(none\)"), (b"emotion,pixels\n", "emotion, pixels"), (b"a;b;c\n", "a;b;c"),
    ("emotion,pixels,Usage\n".encode("utf-16"), "\ufffd\ufffde")])
def test_other_csv_files(tmp_path, content, found):
    (tmp_path / "x.csv").write_bytes(content)
    refused(ds.Dataset(tmp_path / "x.csv"), rf"has the columns {found}.*\. Use the competition")


def test_a_large_csv(tmp_path):
    with open(tmp_path / "x.csv", "wb") as file:
        file.truncate(1_000_000_001)  # on the disk, it takes no room
    refused(ds.Dataset(tmp_path / "x.csv"), "x.csv holds more than 1,000,000,000 bytes")


# thousands of damaged files

def damaged(content, rng):
    """Damage some bytes as disks, networks and malice do."""
    data = bytearray(content)
    kind = rng.randrange(6)
    at = rng.randrange(len(data))
    if kind == 0:  # a bit flips, or several
        for _ in range(rng.choice((1, 1, 2, 8, 64))):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == 1:  # the end is missing
        del data[at:]
    elif kind == 2:  # a piece is missing
        del data[at:at + rng.randrange(1, 50)]
    elif kind == 3:  # a piece is there twice
        data[at:at] = data[at:at + rng.randrange(1, 200)]
    elif kind == 4:  # a number becomes extreme: sizes, offsets, counts
        width = rng.choice((1, 2, 4))
        data[at:at + width] = rng.choice((b"\0", b"\xff", b"\x7f", b"\x80")) * width
    else:  # noise
        data[at:at + 20] = rng.randbytes(20)
    return bytes(data)


def test_damaged_images():
    rng = random.Random(2013)
    jpeg = (ds.FIXTURE / VICTIM).read_bytes()
    originals = [jpeg, encoded(face(), "PNG"), encoded(face(), "GIF"), encoded(face(), "BMP"),
                 encoded(colours(), "PNG"), encoded(colours().convert("CMYK"), "JPEG"),
                 encoded(face().quantize(16), "PNG"), encoded(colours(), "JPEG", progressive=True)]
    true = [np.asarray(sources.read_image("x", io.BytesIO, content)[0]) for content in originals]
    accepted, slowest = 0, 0.0
    for i in range(4000):
        which = i % len(originals)
        content = damaged(originals[which], rng)
        started = time.perf_counter()
        try:
            image, (width, height), _ = sources.read_image("x", io.BytesIO, content)
        except sources.Fault as fault:
            assert "0x" not in str(fault), "an address: another text each time"
            continue
        finally:
            slowest = max(slowest, time.perf_counter() - started)
        accepted += 1
        assert image.mode == "L" and image.size == (width, height)
        assert max(width, height) <= sources.MAX_SIDE
        if which in (1, 4, 6):  # PNG carries checksums: what is accepted is right
            np.testing.assert_array_equal(np.asarray(image), true[which])
        if originals[which].startswith(content):  # cut short: whole all the same, or left out
            np.testing.assert_array_equal(np.asarray(image), true[which])
    assert 200 < accepted < 3000, "damage was done, and not all of it matters"
    assert slowest < 2, "seconds for one file"


def test_damaged_zips(tmp_path, fixture_index, make_zip):
    rng = random.Random(48)
    data = make_zip()
    content = data.root.read_bytes()
    right = dict(zip(fixture_index["path"], fixture_index["digest"], strict=True))
    table = content.index(b"PK\x01\x02")
    refusals = 0
    for i in range(60):
        # Half of the damage goes into the table of contents, at the end.
        start = table if i % 2 else 0
        data.root.write_bytes(content[:start] + damaged(content[start:], rng))
        try:
            seen = ds._read_all(data.root)
        except CourseError as error:
            assert "x.zip" in str(error)
            refusals += 1
            continue
        for path, digest in zip(seen["path"], seen["digest"], strict=True):
            assert digest in right.values(), "a checksum was not checked"
            assert right.get(path, digest) == digest
    assert 5 < refusals < 55
    assert [path.name for path in tmp_path.iterdir()] == ["x.zip"]


def test_damaged_csv_files(fixture_index, make_csv):
    rng = random.Random(7)
    few = fixture_index.groupby(["split", "emotion"]).head(1)
    data = make_csv(few["path"], FIXTURE.pixels[few.index])
    content = data.root.read_bytes()
    refusals = faults = 0
    for _ in range(300):
        data.root.write_bytes(damaged(content, rng))
        try:
            seen = ds._read_all(data.root)
        except CourseError as error:
            assert "fer2013.csv" in str(error)
            refusals += 1
            continue
        faults += len(seen["fault"])
        # Whatever was accepted is what an independent reader finds in the file.
        rows = [line.rsplit(",", 2) for line in
                data.root.read_text(errors="replace").splitlines()[1:] if line]
        values = {tuple(map(int, row[1].strip('"').split())) for row in rows
                  if len(row) == 3 and all(v.isdigit() for v in row[1].strip('"').split())}
        for image in seen["pixels"]:
            assert tuple(image.ravel().tolist()) in values
    assert refusals > 15
    assert faults > 15
