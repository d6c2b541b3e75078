"""Every form of the dataset gives the same images; nothing hostile gets through."""

import csv
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
from fer_helpers.emotions import IMAGE_SIZE

SIZE = (IMAGE_SIZE, IMAGE_SIZE)
ODD = "train/happy/Training_00000003.jpg"  # 64 x 64 in the fixture
VICTIM = "train/sad/Training_00001003.jpg"


def members():
    return {path.relative_to(ds.FIXTURE).as_posix(): path.read_bytes()
            for path in sorted(ds.FIXTURE.rglob("*.jpg"))}


def make_zip(path, files, top=""):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir(f"{top}train")
        for name, content in files.items():
            archive.writestr(top + name, content)
    return path


def make_csv(path, index, pixels, header=("emotion", "pixels", "Usage"), usage=None, label=None):
    """Write an index as the competition's file; ``usage`` and ``label`` choose the spelling."""
    usage = usage or {"train": "Training", "test": "PublicTest"}
    label = label or sources.CSV_EMOTIONS.index
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for row, image in zip(index.itertuples(), pixels, strict=True):
            fields = {"emotion": label(row.emotion), "usage": usage[row.split],
                      "pixels": " ".join(map(str, image.ravel()))}
            writer.writerow([fields[name.strip().casefold()] for name in header])
    return path


@pytest.fixture(scope="module")
def whole():
    return ds.Dataset(ds.FIXTURE)


def outcome(root, path=VICTIM):
    """Read a dataset; return the digest of one image, or why it was left out."""
    data = ds.Dataset(Path(root))
    seen = ds._read_all(data.root)
    assert len(seen["path"]) + len(seen["fault"]) == 292, "every file is counted"
    for name in ("path", "fault_path"):
        found = np.flatnonzero(seen[name] == path)
        if len(found):
            return str(seen["digest" if name == "path" else "fault"][found[0]])


# the three forms

@pytest.mark.parametrize("top", ["", "archive/", "fer 2013/données/"])
def test_a_zip_is_the_folder(whole, fixture_index, tmp_path, top):
    data = ds.Dataset(make_zip(tmp_path / "archive.zip", members(), top))
    pd.testing.assert_frame_equal(ds.index_images(data), fixture_index)
    np.testing.assert_array_equal(data.pixels, whole.pixels)


@pytest.mark.parametrize("spelling", [
    {},
    {"header": ("emotion", " Usage", " pixels"), "usage": {"train": "Training",
                                                           "test": "PrivateTest"}},
    {"header": ("Usage", "Emotion", "Pixels"), "usage": {"train": "train", "test": "test"},
     "label": str},
])
def test_a_csv_is_the_folder(whole, fixture_index, tmp_path, spelling):
    data = ds.Dataset(make_csv(tmp_path / "fer2013.csv", fixture_index, whole.pixels, **spelling))
    np.testing.assert_array_equal(data.pixels, whole.pixels)
    assert ds.index_images(data)["path"].is_unique
    # A CSV holds no file names, and no images of another size.
    same = [name for name in ds.COLUMNS if name != "path"]
    normal = fixture_index["path"] != ODD
    index = ds.index_images(data)
    pd.testing.assert_frame_equal(index.loc[normal, same], fixture_index.loc[normal, same])
    assert tuple(index.loc[~normal, ["width", "height"]].iloc[0]) == SIZE


def test_fer_data_accepts_each_form(whole, fixture_index, tmp_path, monkeypatch):
    for root in (make_zip(tmp_path / "a.zip", members()),
                 make_csv(tmp_path / "b.csv", fixture_index, whole.pixels)):
        monkeypatch.setenv("FER_DATA", str(root))
        data = ds.find_dataset()
        assert len(ds.index_images(data)) == 292
        assert data.name == f"custom-{root.stem}"


def test_csv_labels_are_the_competitions(tmp_path):
    # 0 to 6 as fer2013.csv numbers them, not as this course does.
    rows = "\n".join(f"{i},{' '.join(['7'] * 2304)},{usage}" for i in range(7)
                     for usage in ("Training", "PublicTest"))
    (tmp_path / "x.csv").write_text(f"emotion,pixels,Usage\n{rows}\n")
    index = ds.index_images(ds.Dataset(tmp_path / "x.csv"))
    by_line = index.assign(line=index["path"].str[-8:].astype(int)).sort_values("line")
    assert by_line["emotion"].tolist()[::2] == [
        "angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]
    assert set(by_line["split"].iloc[::2]) == {"train"}
    assert set(by_line["split"].iloc[1::2]) == {"test"}


# files that are not what they should be: handled, or left out and counted

def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def face():
    return Image.open(ds.FIXTURE / VICTIM).convert("L")


def bomb():
    return encoded(Image.new("1", (20_000, 20_000)), "PNG")


def scans(number):
    """A progressive JPEG whose last scan is repeated."""
    content = encoded(face(), "JPEG", progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * number + content[-2:]


LEFT_OUT = {
    "a text": (b"I am no image", "not a readable image"),
    "nothing": (b"", "not a readable image"),
    "truncated": ((ds.FIXTURE / VICTIM).read_bytes()[:700], "not a readable image: .*truncated"),
    "20,000 x 20,000 pixels": (bomb(), "not a readable image: .*decompression bomb"),
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
def test_a_bad_image_is_left_out_and_counted(copy, tmp_path, form, content, reason):
    (copy / VICTIM).write_bytes(content)
    root = copy
    if form == "zip":
        root = make_zip(tmp_path / "x.zip", members() | {VICTIM: content})
    assert pd.Series([outcome(root)]).str.contains(reason).all(), outcome(root)
    with pytest.warns(UserWarning, match=f"Left out .*: 1 files.* first is {VICTIM}.*Notebook 1"):
        assert len(ds.index_images(ds.Dataset(root))) == 291


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
    image, size, _ = sources.decode(content)
    assert size == SIZE and image.mode == "L"
    np.testing.assert_array_equal(np.asarray(image), np.asarray(expected))


def test_the_mode_in_the_file_is_counted(copy):
    (copy / VICTIM).write_bytes(HANDLED["16 bit"][0])
    (copy / ODD).write_bytes(HANDLED["RGBA"][0])
    modes = ds.index_images(ds.Dataset(copy)).set_index("path")["mode"]
    assert modes[VICTIM] == "I;16"
    assert modes[ODD] == "RGBA"


def test_awkward_names(copy, fixture_index):
    names = ["with space.jpg", "größe.jpg", "表情.jpg", "a'b\"c;d.jpg", "-rf.jpg"]
    for i, name in enumerate(names):
        (copy / f"train/sad/Training_0000100{i}.jpg").rename(copy / "train/sad" / name)
    index = ds.index_images(ds.Dataset(copy))
    assert sorted(index["digest"]) == sorted(fixture_index["digest"])
    assert ds.load_images(ds.Dataset(copy), index[index["path"] == "train/sad/größe.jpg"])


def test_links(copy, tmp_path):
    outside = tmp_path / "private.jpg"
    face().save(outside)
    for target in (outside, "Training_00001003.jpg", "nowhere.jpg", "Training_00001002.jpg"):
        (copy / VICTIM).unlink()
        (copy / VICTIM).symlink_to(target)  # out of the folder, to itself, to nothing, inside
        assert outcome(copy) == "a link or a folder, not a file"


@pytest.mark.parametrize("folder", ["train", "train/sad"])
def test_a_linked_folder(copy, tmp_path, folder):
    (copy / folder).rename(tmp_path / "elsewhere")
    (copy / folder).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ds.DatasetError, match=rf"{folder} is a link.*Put the folder itself"):
        ds.index_images(ds.Dataset(copy))


def test_a_link_beside_the_dataset_does_not_matter(copy, tmp_path):
    (copy / "elsewhere").symlink_to(tmp_path)
    assert outcome(copy) == outcome(ds.FIXTURE)


def test_a_folder_and_a_pipe_among_the_images(copy):
    (copy / VICTIM).unlink()
    (copy / VICTIM).mkdir()
    assert outcome(copy) == "a link or a folder, not a file"
    (copy / VICTIM).rmdir()
    os.mkfifo(copy / VICTIM)
    assert outcome(copy) == "a link or a folder, not a file"


@pytest.mark.parametrize("name", ["x.zip", "x.csv", "x"])
def test_a_pipe_as_dataset_is_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(ds.DatasetError, match=rf"{name} is neither a folder nor a file"):
        ds.index_images(ds.Dataset(tmp_path / name))


@pytest.mark.parametrize("chosen", ["~nobody_of_this_name/x", "x" * 300, "loop"])
def test_paths_that_lead_nowhere(tmp_path, monkeypatch, chosen):
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.setenv("FER_DATA", str(tmp_path / "loop") if chosen == "loop" else chosen)
    with pytest.raises(ds.DatasetError, match="No dataset at"):
        ds.find_dataset()


def test_a_name_that_is_no_text(copy):
    os.rename(os.fsencode(copy / VICTIM), os.fsencode(copy / "train/sad") + b"/caf\xe9.jpg")
    index = ds.index_images(ds.Dataset(copy))
    assert len(index) == 292
    assert len(ds.fingerprint(index)) == 16


def test_nothing_that_can_be_used(copy):
    for path in copy.rglob("*.jpg"):
        path.write_bytes(b"junk")
    with pytest.raises(ds.DatasetError, match=r"None of the 292 files of .* can be used"):
        ds.index_images(ds.Dataset(copy))


def test_a_trouble_of_the_moment_is_no_fault_of_the_file(copy, monkeypatch):
    def busy(*_):
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr("builtins.open", busy)
        with pytest.raises(ds.DatasetError, match=r"Too many open files\). Try again"):
            ds._read_all(copy)
    assert len(ds.index_images(ds.Dataset(copy))) == 292


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs POSIX permissions")
def test_a_file_and_a_folder_without_permission():
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to others
        root = Path(folder)
        for name, content in members().items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
        os.chmod(root, 0o755)
        os.chmod(root / VICTIM, 0)
        user = os.geteuid()
        try:
            if user == 0:  # root may read everything
                os.seteuid(65534)
            assert outcome(root) == "cannot be read: Permission denied"
            os.seteuid(user)
            os.chmod(root / "test" / "fear", 0)
            if user == 0:
                os.seteuid(65534)
            with pytest.raises(ds.DatasetError, match=r"fear.* cannot be listed.*permissions"):
                ds._read_all(root)
        finally:
            os.seteuid(user)
            os.chmod(root / "test" / "fear", 0o755)


# zips

def test_a_zip_with_names_that_lead_out(tmp_path):
    for name in ("../evil.jpg", "train/sad/../../../evil.jpg", "/etc/evil.jpg", "..\\evil.jpg"):
        path = make_zip(tmp_path / "x.zip", members() | {name: b"x"})
        with pytest.raises(ds.DatasetError, match=r"x.zip holds the name .*leads out.*again"):
            ds._read_all(path)
    assert [p.name for p in tmp_path.iterdir()] == ["x.zip"], "nothing was unpacked"


def test_a_zip_bomb(tmp_path, monkeypatch):
    # One member that unpacks to 200 MB, and says that it has 1,000 bytes.
    path = tmp_path / "x.zip"
    make_zip(path, members() | {VICTIM: bytes(200_000_000)})
    assert "more than 4,000,000 bytes" in outcome(path)
    content = path.read_bytes()
    lie = content.replace((200_000_000).to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    assert lie != content
    path.write_bytes(lie)
    tracemalloc.start()
    assert outcome(path).startswith("cannot be unpacked")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50_000_000, "bytes"
    for kind in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        with zipfile.ZipFile(make_zip(path, members()), "a") as archive:
            archive.writestr("train/sad/bomb.jpg", bytes(1000), compress_type=kind)
        with pytest.raises(sources.Fault, match="packed in an unusual way"):
            next(entry for entry in sources.entries(path) if entry.name == "bomb.jpg").read()
    monkeypatch.setattr(sources, "MAX_TOTAL", 300_000)
    with pytest.raises(ds.DatasetError, match=r"would unpack to more than.*download it again"):
        ds._read_all(path)


def test_other_zips(tmp_path):
    path = tmp_path / "x.zip"
    hidden = {"__MACOSX/train/sad/._a.jpg": b"x", "train/.DS_Store": b"x",
              "train/sad/Thumbs.db": b"x", "README.txt": b"x", "train/notes.txt": b"x"}
    make_zip(path, members() | hidden)
    assert outcome(path) == outcome(ds.FIXTURE)
    both = members() | {f"again/{name}": content for name, content in members().items()}
    with pytest.raises(ds.DatasetError, match=r"more than one dataset, in '' and 'again'"):
        ds._read_all(make_zip(path, both))
    with pytest.raises(ds.DatasetError, match=r"no images in train/happy/.*unpack it again"):
        ds._read_all(make_zip(path, {"fer2013.csv": b"x"}))
    path.write_bytes(b"PK\x03\x04 not really")
    with pytest.raises(ds.DatasetError, match=r"x.zip is neither a folder.*nor a whole zip"):
        ds._read_all(path)


# CSV files

ROW = f"3,{' '.join(['7'] * 2304)},Training"


@pytest.mark.parametrize("line, reason", [
    (ROW.replace(" 7,", ","), "2,303 pixels, not 2,304"),
    (ROW.replace(" 7,", " 7 7,"), "2,305 pixels, not 2,304"),
    (ROW.replace("3,7", "3,256"), "the pixel '256' is not a number from 0 to 255"),
    (ROW.replace("3,7", "3,-1"), "the pixel '-1' is not"),
    (ROW.replace("3,7", "3,7.5"), "the pixel '7.5' is not"),
    (ROW.replace("3,7", "3,٧"), "the pixel '٧' is not"),
    (ROW.replace("3,7", "3,1_0"), "the pixel '1_0' is not"),
    (ROW.replace("3,7", "3,7\0"), "the pixel '7\\x00' is not"),
])
def test_a_bad_row_is_left_out_and_counted(whole, fixture_index, tmp_path, line, reason):
    path = make_csv(tmp_path / "x.csv", fixture_index, whole.pixels)
    with open(path, "a") as file:
        file.write(f"{line}\n\n{ROW}\n")
    with pytest.warns(UserWarning, match="Left out of .*x.csv: 1 files"):
        data = ds.Dataset(path)
        assert len(ds.index_images(data)) == 293
    assert data.faults["path"].tolist() == ["train/happy/Training_00000294"]
    assert data.faults["fault"][0].startswith(reason)


@pytest.mark.parametrize("line, reason", [
    (ROW.replace("3,", "7,", 1), "x.csv, line 294: emotion '7' is not a number.*Remove the line"),
    (ROW.replace("3,", ",", 1), "x.csv, line 294: emotion '' is not"),
    (ROW.replace("Training", "Exam"), "x.csv, line 294: Usage 'Exam' is none of training"),
    (ROW + ",more", "x.csv, line 294: 4 fields instead of 3. Remove the line"),
    ("3", "x.csv, line 294: 1 fields instead of 3"),
    ('3,"7 7', "x.csv is not a whole CSV file in UTF-8 after line 293 .*unexpected end of data"),
    ("3," + "7 " * 100_000 + ",Training", "field larger than field limit"),
])
def test_a_bad_csv_names_the_line(whole, fixture_index, tmp_path, line, reason):
    path = make_csv(tmp_path / "x.csv", fixture_index, whole.pixels)
    with open(path, "a") as file:
        file.write(line + "\n")
    with pytest.raises(ds.DatasetError, match=reason):
        ds.index_images(ds.Dataset(path))


@pytest.mark.parametrize("content, found", [
    (b"", r"\(none\)"), (b"emotion,pixels\n", "emotion, pixels"), (b"a;b;c\n", "a;b;c")])
def test_other_csv_files(tmp_path, content, found):
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(ds.DatasetError, match=rf"has the columns {found}\. Use the competition"):
        ds._read_all(tmp_path / "x.csv")


def test_a_csv_that_is_no_text(tmp_path):
    (tmp_path / "x.csv").write_bytes(b"emotion,pixels,Usage\n\xff\xfe\x00,,\n")
    with pytest.raises(ds.DatasetError, match=r"x.csv is not a whole CSV .* line 0 .*Download"):
        ds._read_all(tmp_path / "x.csv")


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


def test_damaged_images(tmp_path):
    rng = random.Random(2013)
    jpeg = (ds.FIXTURE / VICTIM).read_bytes()
    originals = [jpeg, encoded(face(), "PNG"), encoded(face(), "GIF"), encoded(face(), "BMP"),
                 encoded(colours(), "PNG"), encoded(colours().convert("CMYK"), "JPEG"),
                 encoded(face().quantize(16), "PNG"), encoded(colours(), "JPEG", progressive=True)]
    true = [np.asarray(sources.decode(content)[0]) for content in originals]
    accepted, slowest = 0, 0.0
    for i in range(4000):
        which = i % len(originals)
        content = damaged(originals[which], rng)
        started = time.perf_counter()
        try:
            image, (width, height), _ = sources.decode(content)
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


def test_damaged_zips(tmp_path, fixture_index):
    rng = random.Random(48)
    content = make_zip(tmp_path / "x.zip", members()).read_bytes()
    right = dict(zip(fixture_index["path"], fixture_index["digest"], strict=True))
    table = content.index(b"PK\x01\x02")
    refused = 0
    for i in range(60):
        # Half of the damage goes into the table of contents, at the end.
        start = table if i % 2 else 0
        (tmp_path / "x.zip").write_bytes(content[:start] + damaged(content[start:], rng))
        try:
            seen = ds._read_all(tmp_path / "x.zip")
        except ds.DatasetError as error:
            assert "x.zip" in str(error)
            refused += 1
            continue
        for path, digest in zip(seen["path"], seen["digest"], strict=True):
            assert digest in right.values(), "a checksum was not checked"
            assert right.get(path, digest) == digest
    assert 5 < refused < 55
    assert [p.name for p in tmp_path.iterdir()] == ["x.zip"]


def test_damaged_csv_files(tmp_path, whole, fixture_index):
    rng = random.Random(7)
    few = fixture_index.groupby(["split", "emotion"]).head(1)
    path = make_csv(tmp_path / "x.csv", few, whole.pixels[few.index])
    content = path.read_bytes()
    refused = faults = 0
    for _ in range(1000):
        path.write_bytes(damaged(content, rng))
        try:
            seen = ds._read_all(path)
        except ds.DatasetError as error:
            assert "x.csv" in str(error)
            refused += 1
            continue
        faults += len(seen["fault"])
        # Whatever was accepted is what an independent reader finds in the file.
        rows = [line.rsplit(",", 2) for line in path.read_text().splitlines()[1:] if line]
        values = {tuple(map(int, row[1].strip('"').split())) for row in rows
                  if len(row) == 3 and all(v.isdigit() for v in row[1].strip('"').split())}
        for image in seen["pixels"]:
            assert tuple(image.ravel().tolist()) in values
    assert refused > 50
    assert faults > 50
