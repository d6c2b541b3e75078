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


def change(folder, function, every=1, suffix="jpg"):
    """Put every n-th image of a folder through a function; store it without loss."""
    for file in sorted(folder.rglob(f"*.{suffix}"))[::every]:
        with Image.open(file) as image:
            image.load()
        function(image).save(file, "PNG")


def noise(image):
    """What another JPEG decoder may do: up to a grey level more or less, anywhere."""
    pixels = np.asarray(image).astype(int)
    pixels += np.random.default_rng(int(pixels.sum())).integers(-1, 2, pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


# originals

def as_it_is(copy):
    pass


def under_own_names(copy):
    """As a script writes them that takes images from a CSV file: the last comes first."""
    for number, file in enumerate(sorted(copy.rglob("*.jpg"), reverse=True)):
        with Image.open(file) as image:
            image.save(file.with_name(f"{number:05}.png"))
        file.unlink()


def with_names_exchanged(copy):
    one, other = (copy / f"train/sad/Training_0000100{number}.jpg" for number in (3, 4))
    one.rename(copy / "x")
    other.rename(one)
    (copy / "x").rename(other)


@pytest.mark.parametrize("alter", [
    as_it_is, under_own_names, with_names_exchanged, lambda copy: change(copy, noise),
    lambda copy: (under_own_names(copy), change(copy, noise, suffix="png"))])
def test_originals(copy, fixture_index, alter):
    alter(copy)
    dataset = ds.find_dataset()
    assert (dataset.name, dataset.identity.form) == ("fer2013", "Kaggle's files")
    assert "This is the original FER-2013" in dataset.identity.sentence
    index = ds.index_images(dataset)
    assert list(index["path"]) == list(fixture_index["path"])
    if (index["digest"] == fixture_index["digest"]).mean() > 0.9:  # no noise
        subset = ds.balance(index, ds.FIXTURE_SIZES)
        assert ds.fingerprint(subset) == "5992024078f74ec8", "the same images are drawn"


def test_a_zip_is_known(make_zip):
    assert make_zip().name == "fer2013"


def half(order):
    order[::2] = order[::2][::-1].copy()
    return order


def two(order):
    order[[3, 200]] = order[[200, 3]]
    return order


ORDERS = [lambda order: order, lambda order: order[::-1], half, two,
          lambda order: np.roll(order, 99), np.random.default_rng(3).permutation]


@pytest.mark.parametrize("change_order", ORDERS)
def test_a_csv_file_in_any_order(make_csv, original, fixture_index, change_order):
    paths, pixels = original
    order = change_order(np.arange(COUNT))
    dataset = make_csv(paths[order], pixels[order])
    assert (dataset.name, dataset.identity.form) == ("fer2013", "fer2013.csv")
    assert "JPEG changed their pixels a little" in dataset.identity.sentence
    # Under Kaggle's names, so that everything that goes by names is the same.
    index = ds.index_images(dataset)
    assert list(index["path"]) == list(fixture_index["path"])
    place = pd.Series(range(COUNT), index=paths)[index["path"]]
    np.testing.assert_array_equal(dataset.pixels, pixels[place])
    subsets = [ds.balance(frame, {"train": 20, "test": 9}) for frame in (index, fixture_index)]
    assert list(subsets[0]["path"]) == list(subsets[1]["path"])
    assert ds.fingerprint(subsets[0]) != ds.fingerprint(subsets[1]), "the pixels differ"


def test_rows_that_share_their_pixels_go_by_their_order(make_csv, original):
    paths, pixels = original
    same = np.flatnonzero(paths.str.startswith("train/sad/"))[:3]
    identity.SIGNATURES.unlink()
    pixels[same] = pixels[same[0]]
    found = identity.signatures(pixels)
    np.savez(identity.SIGNATURES, kaggle=found, csv_minus_kaggle=found * 0)
    identity.known_signatures.cache_clear()
    names = [f"{path.rpartition('/')[0]}/{row}" for row, path in enumerate(paths)]
    got, what = identity.recognise(pd.Series(names), np.full((COUNT, 2), 48), pixels)
    assert (got, what.kind) == (list(paths), "original")
    backwards = paths[::-1].reset_index(drop=True)
    again, _ = identity.recognise(backwards, np.full((COUNT, 2), 48), pixels[::-1])
    assert again == list(paths[::-1]), "each keeps a name that fits"


def test_near_copies_of_two_classes_keep_their_own(original):
    """Another decoder may exchange what little tells them apart: no label has changed."""
    paths, pixels = original
    one, other = (paths.str.startswith(home).argmax() for home in ("train/sad/", "train/fear/"))
    pixels[other] = pixels[one] ^ 1
    found = identity.signatures(pixels)
    np.savez(identity.SIGNATURES, kaggle=found, csv_minus_kaggle=found * 0)
    pixels[[one, other]] = pixels[[other, one]]
    names = [f"{path.rpartition('/')[0]}/{row}.png" for row, path in enumerate(paths[::-1])]
    assert (found[one] != found[other]).any()
    got, what = identity.recognise(pd.Series(names), np.full((COUNT, 2), 48), pixels[::-1])
    assert (what.kind, {*got}) == ("original", {*paths})


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
    assert (dataset.name, dataset.identity.form) == ("fer2013-altered", "")
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


def relabelled_and_renamed(copy):
    relabelled(copy)
    under_own_names(copy)


def exchanged_and_replaced(copy):
    """One image has another's name, and that one's pixels are gone."""
    with_names_exchanged(copy)
    change(copy / "train/sad", ImageOps.invert, 1000)  # the first by name
    first, other = sorted((copy / "train/sad").iterdir())[:2]
    first.rename(copy / "x")
    other.rename(first)
    (copy / "x").rename(other)


@pytest.mark.parametrize(("alter", "said"), [
    (replaced(every=10), "30 have other pixels"), (replaced(every=1000), "1 have other pixels"),
    (relabelled, "1 have another label or split"),
    (relabelled_and_renamed, "1 have another label or split"),
    (missing_and_added, "2 are missing, 1 were added"),
    (lambda copy: (replaced(every=10)(copy), under_own_names(copy)),
     "30 are missing, 30 were added"),
    (exchanged_and_replaced, "1 are missing, 1 were added"),
])
def test_every_image_counts(copy, alter, said):
    alter(copy)
    dataset = ds.find_dataset()
    assert dataset.name == "fer2013-altered"
    assert f"original's 292 images, {said}. R" in dataset.identity.sentence
    assert ds.index_images(dataset)["path"].is_unique


def test_one_label_changed_in_the_csv(make_csv, original):
    paths, pixels = original
    row = paths.str.startswith("train/happy/").argmax()
    for order in (np.arange(COUNT), np.arange(COUNT)[::-1]):
        changed = np.array([*paths[:row], "train/sad/x", *paths[row + 1:]])[order]
        dataset = make_csv(changed, pixels[order])
        assert "292 images, 1 have another label or split. R" in dataset.identity.sentence
        index = ds.index_images(dataset)
        assert f"train/sad/{paths[row].split('/')[2]}" in set(index["path"])


def test_an_altered_csv_keeps_kaggles_names(make_csv, original, fixture_index):
    paths, pixels = original
    dataset = make_csv(paths, 255 - pixels)
    assert dataset.name == "fer2013-altered"
    assert "292 have other pixels" in dataset.identity.sentence
    assert list(ds.index_images(dataset)["path"]) == list(fixture_index["path"])


@pytest.mark.parametrize("spread, kind, changed", [(0.8, "original", 0), (4, "altered", 230)])
def test_the_tolerance(original, spread, kind, changed):
    """Grey levels: 2.5 are the border, for the mean of many images."""
    paths, pixels = original
    moved = pixels + np.random.default_rng(4).normal(0, spread, pixels.shape).round()
    _, what = identity.recognise(paths, np.full((COUNT, 2), 48),
                                 moved.clip(0, 255).astype(np.uint8))
    assert what.kind == kind
    assert changed == 0 or int(what.sentence.split("images, ")[1].split()[0]) > changed


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

def test_another_csv_file_of_as_many_rows(make_csv, original):
    """Its rows get no names of FER-2013's, though one in seven has the class of FER-2013's row."""
    paths, pixels = original
    order = paths.str.rpartition("/")[0].argsort(kind="stable")
    dataset = make_csv(paths[order], 255 - pixels[order])
    assert dataset.identity.sentence.startswith("This is another dataset than FER-2013: its")
    assert ds.index_images(dataset)["path"].str.contains("/(?:Training|PublicTest)_[0-9]{8}$").all()


@pytest.mark.parametrize("share, pixels_kept, name, said", [
    (0.6, True, "fer2013-altered", "117 are missing. R"),
    (0.6, False, "fer2013-altered", "175 have other pixels, 117 are missing. R"),
    (0.45, True, "custom-fer2013", "131 of these 131 images are FER-2013's, which has 292"),
    (0.45, False, "custom-fer2013", "another dataset than FER-2013"),
])
def test_a_part_of_it(original, share, pixels_kept, name, said):
    paths, pixels = (column[:int(share * COUNT)] for column in original)
    _, what = identity.recognise(paths, np.full((len(paths), 2), 48),
                                 pixels if pixels_kept else 255 - pixels)
    assert said in what.sentence
    assert (what.kind == "altered") == (name == "fer2013-altered")


def test_its_names_on_a_few_of_many_images(original):
    """Four in ten have FER-2013's names, none its pixels."""
    paths, pixels = original
    names = [path if row < 0.4 * COUNT else f"train/sad/{row}" for row, path in enumerate(paths)]
    _, what = identity.recognise(pd.Series(names), np.full((COUNT, 2), 48), 255 - pixels)
    assert what.kind == "other"


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


def test_the_signs_are_those_that_the_shipped_signatures_were_made_with():
    """As seen when they knew every image of FER-2013. Another sign makes every copy altered."""
    pixels = (np.arange(48 * 48).reshape(1, 48, 48) * 7 % 256).astype(np.uint8)
    assert identity.signatures(pixels).tolist() == [[-288, 244, -412, -623, -221, -59, -163, -371]]


def test_signatures_of_many_are_those_of_each():
    images = np.random.default_rng(0).integers(0, 256, (2500, 48, 48)).astype(np.uint8)
    found = identity.signatures(images)
    for row in (0, 999, 1000, 1001, 2001, 2499):
        np.testing.assert_array_equal(found[row], identity.signatures(images[row:row + 1])[0])


@pytest.mark.parametrize("spread", [1, 5, 25])
def test_signatures_estimate_the_distance(spread):
    """As the mean of many: a single one has eight degrees of freedom."""
    rng = np.random.default_rng(0)
    images = rng.integers(100, 150, (500, 48, 48)).astype(np.uint8)
    others = (images + rng.normal(0, spread, images.shape).round()).clip(0, 255).astype(np.uint8)
    true = ((images.astype(float) - others) ** 2).mean()
    estimate = identity.difference(*map(identity.signatures, (images, others))) ** 2
    assert estimate.mean() == pytest.approx(true, rel=0.06)
