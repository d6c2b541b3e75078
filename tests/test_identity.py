"""FER-2013 is known by its pixels. Here the fixture plays the original."""

import gzip
import re

import check
import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps

from fer_helpers import dataset as ds
from fer_helpers import identity, notebook
from machinery.files import CourseError

COUNT = 292  # images of the fixture
SHIPPED = {name: getattr(identity, name) for name in ("COUNT", "IMAGES", "SIGNATURES")}


@pytest.fixture(autouse=True)
def original(monkeypatch, tmp_path, fixture_index):
    """Let the course know the fixture as FER-2013; return its table and pixels, in CSV order."""
    order = np.random.default_rng(1).permutation(COUNT)
    paths = fixture_index["path"].iloc[order].reset_index(drop=True)
    kaggle = ds.Dataset(ds.FIXTURE).pixels[order]
    # What JPEG took away: grey levels as far apart as in FER-2013, 1.7 in the root mean square.
    lost = np.random.default_rng(2).normal(0, 1.7, kaggle.shape).round()
    csv = np.clip(kaggle + lost, 0, 255).astype(np.uint8)
    monkeypatch.setattr(identity, "COUNT", COUNT)
    monkeypatch.setattr(identity, "IMAGES", tmp_path / "images.csv.gz")
    monkeypatch.setattr(identity, "SIGNATURES", tmp_path / "signatures.npz")
    identity.IMAGES.write_bytes(gzip.compress(paths.to_csv(index=False).encode()))
    know(kaggle, csv)
    identity.images.cache_clear()
    yield paths, csv
    identity.images.cache_clear()
    identity.known_signatures.cache_clear()


def know(kaggle, csv):
    """Write both forms down as what the course knows."""
    signatures = [identity.signatures(pixels) for pixels in (kaggle, csv)]
    np.savez(identity.SIGNATURES, kaggle=signatures[0],
             csv_minus_kaggle=signatures[1] - signatures[0])
    identity.known_signatures.cache_clear()


def recognised(paths, pixels):
    """Return the names that images of 48 x 48 get, and what they are."""
    return identity.recognise(pd.Series(list(paths)), np.full((len(paths), 2), 48), pixels)


def as_rows(paths):
    """Call images as a script does that takes them from a CSV file: by class and row."""
    return [f"{path.rpartition('/')[0]}/{row}" for row, path in enumerate(paths)]


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
    index, known = ds.index_images(dataset), identity.images()
    assert list(index["path"]) == list(fixture_index["path"])
    homes = known["path"].str.rpartition("/")[0]
    assert (known["split"] + "/" + known["emotion"]).tolist() == homes.tolist()
    if (index["digest"] == fixture_index["digest"]).mean() > 0.9:  # no noise
        subset = ds.balance(index, ds.FIXTURE_SIZES)
        assert ds.fingerprint(subset) == "5992024078f74ec8", "the same images are drawn"


ORDERS = [lambda order: order, lambda order: order[::-1],
          lambda order: np.r_[order[:150], order[:149:-1]],  # half of it in its place
          lambda order: np.r_[order[-1], order[1:-1], order[0]],
          np.random.default_rng(3).permutation]


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


def test_rows_that_share_their_pixels_go_by_their_order(original):
    paths, pixels = original
    same = np.flatnonzero(paths.str.startswith("train/sad/"))[:3]
    pixels[same] = pixels[same[0]]
    know(pixels, pixels)
    got, what = recognised(as_rows(paths), pixels)
    assert (got, what.kind) == (list(paths), "original")
    assert recognised(paths[::-1], pixels[::-1])[0] == list(paths[::-1]), "each keeps its name"


def test_the_nearest_gets_the_name_and_most_images_tell_the_form(original, fixture_index):
    paths, pixels = original
    first = list(fixture_index["path"]).index(paths[0])
    kaggles = np.concatenate([ds.Dataset(ds.FIXTURE).pixels[[first]], pixels[1:]])
    assert recognised(list(paths), kaggles)[1].form == "fer2013.csv"
    noisy = (pixels[7] + np.random.default_rng(5).normal(0, 1, (48, 48))).clip(0, 255)
    got, what = recognised([f"{paths[7].rpartition('/')[0]}/new", *as_rows(paths)],
                           np.concatenate([noisy[None].astype(np.uint8), pixels]))
    assert got[1:] == list(paths) and "1 were added" in what.sentence


def test_near_copies_of_two_classes_keep_their_own(original):
    """Another decoder may exchange what little tells them apart: no label has changed."""
    paths, pixels = original
    one, other = (paths.str.startswith(home).argmax() for home in ("train/sad/", "train/fear/"))
    pixels[other] = pixels[one] ^ 1
    know(pixels, pixels)
    assert np.ptp(identity.signatures(pixels[[one, other]]), axis=0).any()
    pixels[[one, other]] = pixels[[other, one]]
    got, what = recognised(as_rows(paths[::-1]), pixels[::-1])
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

def by(function, every=1):
    return lambda copy: change(copy, function, every)


def missing_and_added(copy):
    for name in ("00", "02"):
        (copy / "test" / "happy" / f"PublicTest_000000{name}.jpg").unlink()
    Image.new("L", (48, 48)).save(copy / "test" / "sad" / "mine.jpg")


@pytest.mark.parametrize(("alter", "said"), [
    (by(ImageOps.equalize), r"291 have other pixels \(their greys were spread evenly.*\)"),
    (by(lambda image: image.resize((28, 48))), r"2\d\d have.*size was changed to 28 x 48\)"),
    (by(ImageOps.equalize, 3), r"9\d have other pixels \(their greys were spread evenly.*\)"),
    (by(ImageOps.invert, 10), "30 have other pixels"),
    (missing_and_added, "2 are missing, 1 were added"),
    (lambda copy: (change(copy, ImageOps.invert, 10), under_own_names(copy)),
     "30 are missing, 30 were added"),
])
def test_altered_copies_by_every_image(copy, alter, said):
    alter(copy)
    dataset = ds.find_dataset()
    assert (dataset.name, dataset.identity.form) == ("fer2013-altered", "")
    assert re.search(rf"original's 292 images, {said}\. Results .* cannot be compared .*"
                     "data/README.md tells where", dataset.identity.sentence)
    assert ds.index_images(dataset)["path"].is_unique


@pytest.mark.parametrize("called", [list, as_rows])
@pytest.mark.parametrize("step", [1, -1])
def test_one_label_changed(original, called, step):
    paths, pixels = (column[::step] for column in original)
    row = paths.str.startswith("train/happy/").argmax()
    names = called(paths)
    names[row] = "train/sad/x"
    got, what = recognised(names, pixels)
    assert "292 images, 1 have another label or split. R" in what.sentence
    assert f"train/sad/{paths.iloc[row].split('/')[2]}" in got


def test_an_altered_csv_file_keeps_the_names_of_its_rows(original):
    """Where other pixels leave nothing else to go by; a row of another class has gone."""
    paths, pixels = original
    rows = as_rows(paths)
    got, what = recognised(rows, 255 - pixels)
    assert got == list(paths) and "292 images, 292 have other pixels. R" in what.sentence
    one, other = (paths.str.startswith(home).argmax() for home in ("train/sad/", "train/happy/"))
    rows[one], rows[other] = rows[other], rows[one]
    got, what = recognised(rows, 255 - pixels)
    assert "290 have other pixels, 2 are missing, 2 were added. R" in what.sentence
    assert got[one] == rows[one] and len({*got}) == COUNT


def test_an_image_with_the_name_of_one_whose_pixels_are_gone(original):
    paths, pixels = original
    one, other = np.flatnonzero(paths.str.startswith("train/sad/"))[:2]
    pixels[other] = 255 - pixels[other]
    names = list(paths)
    names[one], names[other] = names[other], names[one]
    got, what = recognised(names, pixels)
    assert "292 images, 1 are missing, 1 were added. R" in what.sentence
    assert len({*got}) == COUNT


@pytest.mark.parametrize("spread, kind, changed", [
    (0.8, "original", 0), (3, "altered", 150), (4, "altered", 230)])
def test_the_tolerance(original, spread, kind, changed):
    """Grey levels: 2.5 are the border, for the mean of many images."""
    paths, pixels = original
    moved = pixels + np.random.default_rng(4).normal(0, spread, pixels.shape).round()
    _, what = recognised(paths, moved.clip(0, 255).astype(np.uint8))
    assert what.kind == kind
    assert recognised(as_rows(paths)[::-1], moved[::-1].clip(0, 255).astype(np.uint8))[1].kind == (
        "original" if kind == "original" else "other"), "nothing is found by pixels that differ"
    assert changed == 0 or int(what.sentence.split("images, ")[1].split()[0]) > changed


def test_check_and_banner_say_it(copy, capsys, monkeypatch):
    monkeypatch.setattr(check, "_training", lambda batch_size: [])
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

def test_another_csv_file_of_as_many_rows(original):
    """Its rows get no names of FER-2013's, though one in seven has the class of FER-2013's row."""
    paths, pixels = original
    rows = as_rows(paths.sort_values())
    got, what = recognised(rows, 255 - pixels)
    assert what.sentence.startswith("This is another dataset than FER-2013: its") and got == rows


@pytest.mark.parametrize(("count", "named", "kept", "kind", "said"), [
    (175, 175, 175, "altered", "117 are missing. R"),
    (175, 175, 0, "altered", "175 have other pixels, 117 are missing. R"),
    (146, 146, 146, "altered", "146 are missing. R"),  # half of it
    (146, 146, 0, "altered", "146 have other pixels, 146 are missing. R"),
    (145, 145, 145, "other", "145 of these 145 images are FER-2013's, which has 292"),
    (130, 130, 65, "other", "65 of these 130 images are FER-2013's"),
    (130, 130, 64, "other", "another dataset than FER-2013"),
    (200, 100, 100, "other", "100 of these 200 images are FER-2013's"),
    (200, 100, 99, "other", "another dataset than FER-2013"),
    (292, 116, 0, "other", "another dataset than FER-2013")])
def test_a_part_of_it(original, count, named, kept, kind, said):
    """So many images, of which some have FER-2013's names, and some its pixels."""
    paths, pixels = (column[:count] for column in original)
    names = [*paths[:named], *(f"train/sad/{row}" for row in range(named, count))]
    got, what = recognised(names, np.concatenate([pixels[:kept], 255 - pixels[kept:]]))
    assert (got, what.kind) == (names, kind) and said in what.sentence


def stripes(width, height):
    """An image whose greys have this standard deviation, with borders every so many pixels."""
    return np.tile(np.where(np.arange(48) // width % 2, 128 + height, 128 - height), (48, 1))


USUAL = [(48, 48)] * 3


@pytest.mark.parametrize(("sizes", "drawn", "said"), [
    ([(224, 200), (224, 200), (48, 48)], [(1, 50)] * 3, "size was changed to 224 x 200"),
    ([(48, 60), (48, 60), (48, 48)], [(1, 50)] * 3, "size was changed to 48 x 60"),
    ([(48, 60), (48, 48)], [(1, 50)] * 2, None), (USUAL, [(1, 76)] * 3, None),
    (USUAL, [(1, 72), (1, 72), (1, 10)], "spread evenly"),
    (USUAL, [(4, 20), (4, 20), (1, 50)], "blurred"), (USUAL, [(4, 30)] * 3, None)])
def test_what_was_done_is_guessed_from_most_of_the_altered_images(sizes, drawn, said):
    """Neighbours in stripes of 4 pixels, 20 grey levels up and down, differ by 9.4; 30, by 14."""
    pixels = np.array([stripes(*one) for one in drawn]).astype(np.uint8)
    found = identity._what_was_done(np.array(sizes), pixels)
    assert said in found if said else found == ""


# what is shipped

def test_both_forms_of_every_image_are_known(monkeypatch):
    for name, value in SHIPPED.items():
        monkeypatch.setattr(identity, name, value)
    identity.images.cache_clear(), identity.known_signatures.cache_clear()
    known = identity.known_signatures()
    assert len(identity.images()) == identity.COUNT and known.shape == (2, identity.COUNT, 8)
    assert np.median(identity.difference(*known)) == pytest.approx(1.7, abs=0.1)


@pytest.mark.parametrize("name", ["IMAGES", "SIGNATURES"])
@pytest.mark.parametrize("damage", [lambda b: b[:len(b) // 2], lambda b: b"", lambda b: b[1:],
                                    None])
def test_damaged_tables(copy, name, damage, trap, capsys):
    path = getattr(identity, name)
    if damage:
        path.write_bytes(damage(path.read_bytes()))
    else:  # a program instead of numbers
        np.savez(path.open("wb"), kaggle=trap, csv_minus_kaggle=trap, allow_pickle=True)
    with pytest.raises(CourseError, match=rf"missing or damaged.*git restore .*/{path.name}"):
        _ = ds.find_dataset().name
    assert "executed" not in capsys.readouterr().out


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
