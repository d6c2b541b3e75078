"""FER-2013 is known by its pixels. Here the fixture plays the original."""

import gzip

import check
import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageFilter, ImageOps

from fer_helpers import dataset as ds
from fer_helpers import identity, notebook
from fer_helpers.course import CourseError

COUNT = 292  # images of the fixture


@pytest.fixture(autouse=True)
def original(monkeypatch, tmp_path, fixture_index):
    """Let the course know the fixture as FER-2013; return its table and pixels, in CSV order."""
    order = np.random.default_rng(1).permutation(COUNT)
    table = fixture_index[["path"]].iloc[order].reset_index(drop=True)
    kaggle = ds.Dataset(ds.FIXTURE).pixels[order]
    # What JPEG took away: grey levels as far apart as in FER-2013, 1.7 in the root mean square.
    lost = np.random.default_rng(2).normal(0, 1.7, kaggle.shape).round()
    csv = np.clip(kaggle + lost, 0, 255).astype(np.uint8)
    signatures = [identity.signatures(pixels) for pixels in (kaggle, csv)]
    monkeypatch.setattr(identity, "COUNT", COUNT)
    monkeypatch.setattr(identity, "IMAGES", tmp_path / "images.csv.gz")
    monkeypatch.setattr(identity, "SIGNATURES", tmp_path / "signatures.npz")
    identity.IMAGES.write_bytes(gzip.compress(table.to_csv(index=False).encode()))
    np.savez(identity.SIGNATURES, kaggle=signatures[0],
             csv_minus_kaggle=signatures[1] - signatures[0])
    identity.images.cache_clear()
    identity.known_signatures.cache_clear()
    yield table["path"], csv
    identity.images.cache_clear()
    identity.known_signatures.cache_clear()


def change(folder, function, every=1):
    """Put every n-th image of a folder through a function; store it without loss."""
    for file in sorted(folder.rglob("*.jpg"))[::every]:
        with Image.open(file) as image:
            image.load()
        function(image).save(file, "PNG")


def noise(image):
    """What another JPEG decoder may do: up to a grey level more or less, anywhere."""
    pixels = np.asarray(image).astype(int)
    pixels += np.random.default_rng(int(pixels.sum())).integers(-1, 2, pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


# originals

def test_kaggles_folder(copy):
    assert ds.find_dataset().name == "fer2013"
    assert ds.find_dataset().form == "Kaggle's files"
    assert "This is the original FER-2013" in ds.find_dataset().identity.sentence


def test_kaggles_zip(make_zip):
    assert make_zip().name == "fer2013"


def test_the_csv_holds_the_same_images(make_csv, original, fixture_index):
    dataset = make_csv(*original)
    assert (dataset.name, dataset.form) == ("fer2013", "fer2013.csv")
    assert "JPEG changed their pixels a little" in dataset.identity.sentence
    # Under Kaggle's names, so that everything that goes by names is the same.
    index = ds.index_images(dataset)
    assert list(index["path"]) == list(fixture_index["path"])
    subsets = [ds.balance(frame, {"train": 20, "test": 9}) for frame in (index, fixture_index)]
    assert list(subsets[0]["path"]) == list(subsets[1]["path"])
    assert ds.fingerprint(subsets[0]) != ds.fingerprint(subsets[1]), "the pixels differ"


def test_another_decoder_makes_no_other_dataset(copy):
    change(copy, noise)
    assert ds.find_dataset().name == "fer2013"


def test_a_real_other_decoder(copy):
    """TensorFlow's fast and inexact way to decode JPEG; FER-2013's own files it changes more."""
    import tensorflow as tf

    changed = 0
    for file in copy.rglob("*.jpg"):
        pixels = tf.io.decode_jpeg(file.read_bytes(), dct_method="INTEGER_FAST").numpy()
        with Image.open(file) as image:
            changed += (np.asarray(image) != pixels[..., 0]).any()
        Image.fromarray(pixels[..., 0]).save(file, "PNG")
    assert changed > COUNT / 2
    assert ds.find_dataset().name == "fer2013"


# altered copies

@pytest.mark.parametrize(("function", "said"), [
    (ImageOps.equalize, "their greys were spread evenly"),
    (lambda image: image.filter(ImageFilter.GaussianBlur(1.5)), "they were blurred"),
    (lambda image: image.resize((224, 224), Image.Resampling.LANCZOS), "changed to 224 x 224"),
    (lambda image: image.resize((28, 28), Image.Resampling.LANCZOS), "changed to 28 x 28"),
    (ImageOps.invert, "have other pixels. Results"),
])
def test_altered(copy, function, said):
    change(copy, function)
    dataset = ds.find_dataset()
    assert (dataset.name, dataset.form) == ("fer2013-altered", "")
    assert said in dataset.identity.sentence
    assert "cannot be compared" in dataset.identity.sentence
    assert "data/README.md" in dataset.identity.sentence


def replaced(every):
    return lambda copy: change(copy, ImageOps.invert, every)


def relabelled(copy):
    file = copy / "train" / "happy" / "Training_00000004.jpg"
    file.rename(copy / "train" / "sad" / file.name)


def missing_and_added(copy):
    for name in ("00", "02"):
        (copy / "test" / "happy" / f"PublicTest_000000{name}.jpg").unlink()
    Image.new("L", (48, 48)).save(copy / "test" / "sad" / "mine.jpg")


@pytest.mark.parametrize(("alter", "said"), [
    (replaced(every=10), "30 have other pixels"), (replaced(every=1000), "1 have other pixels"),
    (relabelled, "1 have another label or split"),
    (missing_and_added, "2 are missing, 1 were added"),
])
def test_every_image_counts(copy, alter, said):
    alter(copy)
    assert ds.find_dataset().name == "fer2013-altered"
    assert f"original's 292 images, {said}. R" in ds.find_dataset().identity.sentence


def test_one_label_changed_in_the_csv(make_csv, original):
    paths, pixels = original
    row = paths.str.startswith("train/happy/").argmax()
    dataset = make_csv([*paths[:row], "train/sad/x", *paths[row + 1:]], pixels)
    assert "292 images, 1 have another label or split. R" in dataset.identity.sentence


def test_an_altered_csv_keeps_kaggles_names(make_csv, original, fixture_index):
    paths, pixels = original
    dataset = make_csv(paths, 255 - pixels)
    assert dataset.name == "fer2013-altered"
    assert "292 have other pixels" in dataset.identity.sentence
    assert list(ds.index_images(dataset)["path"]) == list(fixture_index["path"])


def test_check_and_banner_say_it(copy, capsys):
    for alter, mark in (False, "[ OK ]"), (True, "[FAIL]"):
        if alter:
            change(copy, ImageOps.invert)
        dataset = ds.find_dataset()
        check.check()
        line = next(line for line in capsys.readouterr().out.splitlines() if "dataset:" in line)
        assert line.startswith(f"{mark} dataset: {dataset.name}, 292 images")
        assert line.endswith(dataset.identity.sentence)
        assert dataset.identity.sentence in notebook.banner(dataset).data


# other datasets

def test_rows_in_another_order(make_csv, original):
    order = original[0].argsort()
    dataset = make_csv(*(column[order] for column in original))
    assert dataset.name == "custom-fer2013"
    assert "292 of these 292 images have pixels of FER-2013" in dataset.identity.sentence
    assert "order of their rows" in dataset.identity.sentence


def test_rows_of_another_number(make_csv, original):
    dataset = make_csv(*(column[:-1] for column in original))
    assert "291 of these 291 images have pixels of FER-2013" in dataset.identity.sentence


def test_another_dataset(copy):
    for number, file in enumerate(sorted(copy.rglob("*.jpg"))):
        Image.effect_noise((48, 48), 50).save(file.with_name(f"{number}.png"))
        file.unlink()
    assert ds.find_dataset().name == "custom-copy"
    assert "another dataset than FER-2013" in ds.find_dataset().identity.sentence


# what is shipped

@pytest.mark.parametrize("name", ["IMAGES", "SIGNATURES"])
@pytest.mark.parametrize("damage", [lambda b: b[:len(b) // 2], lambda b: b"", lambda b: b[1:]])
def test_damaged_tables(copy, name, damage):
    path = getattr(identity, name)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CourseError, match=r"missing or damaged.*git restore"):
        _ = ds.find_dataset().name


def test_a_table_with_a_row_too_few(copy, original):
    short = pd.DataFrame({"path": original[0][1:]}).to_csv(index=False)
    identity.IMAGES.write_bytes(gzip.compress(short.encode()))
    with pytest.raises(CourseError, match="291 rows"):
        _ = ds.find_dataset().name


@pytest.mark.parametrize("spread", [1, 5, 25])
def test_signatures_estimate_the_distance(spread):
    """As the mean of many: a single one has eight degrees of freedom."""
    rng = np.random.default_rng(0)
    images = rng.integers(100, 150, (500, 48, 48)).astype(np.uint8)
    others = (images + rng.normal(0, spread, images.shape).round()).clip(0, 255).astype(np.uint8)
    true = ((images.astype(float) - others) ** 2).mean()
    estimate = identity.difference(*map(identity.signatures, (images, others))) ** 2
    assert estimate.mean() == pytest.approx(true, rel=0.06)
