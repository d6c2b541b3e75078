"""Find a dataset, index its images, balance the classes, load the pixels.

Every image is opened once. What was seen is kept in memory and in a cache, ``.cache/`` in the
course's folder or ``FER_CACHE``, which may be deleted. A new :class:`Dataset` notices a changed
file. Nothing here writes into the dataset. The first look at it may raise a ``CourseError``.
"""

import contextlib
import functools
import hashlib
import io
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.request import url2pathname

import numpy as np
import pandas as pd
import PIL
from PIL import Image
from tqdm import tqdm

from fer_helpers import course, sources
from fer_helpers.course import COURSE, EMOTIONS, IMAGE_SIZE, LEFT_OUT, SPLITS, CourseError
from fer_helpers.identity import VOTES, Identity, images, recognise

FIXTURE = (COURSE / "data" / "fixture").resolve()
# Where a user may put FER-2013, in any form; the first one that is there, and not empty, is used.
FER2013 = [COURSE / "data" / name
           for name in ("fer2013", "fer2013.zip", "archive.zip", "fer2013.csv")]
# And where Kaggle's own notebooks, and Colab, show it.
KAGGLE = [Path("/kaggle/input") / name for name in ("fer2013", "datasets/msambare/fer2013")]
REPORT_SIZES = {"train": 2999, "test": 599}  # images of each class (report, section 2.2)
FIXTURE_SIZES = {"train": 30, "test": 12}
COLUMNS = ("split", "emotion", "path", "width", "height", "mode", "digest", "brightness",
           "contrast", "flat")
CACHE_FORMAT = 5  # another number makes every cache invalid: for when the code here changes


class Examples(NamedTuple):
    """Images with what belongs to them, row by row."""

    images: np.ndarray  # uint8 [n, 48, 48, 1], 0 is black
    labels: np.ndarray  # int64 [n], positions in EMOTIONS; or shares of them, float32 [n, 6]
    ids: np.ndarray  # str [n], path of the image inside the dataset


class Balanced(NamedTuple):
    """The same number of images of every class, ready for training."""

    train: Examples
    test: Examples
    about: dict[str, str]  # dataset, its form, and the fingerprint of these images: see Run
    # The test images of the six classes that the draw leaves out, of unequal number a class. No
    # training looks at them: they are answered once, at its end.
    unused: Examples | None = None


@dataclass(frozen=True)
class Dataset:
    """A dataset in any form that :mod:`fer_helpers.sources` reads."""

    root: Path

    @property
    def is_fixture(self) -> bool:
        """Whether this is the small drawn dataset that comes with the course."""
        return self.root == FIXTURE

    @property
    def name(self) -> str:
        """``fixture``, ``fer2013`` (the original), ``fer2013-altered``, or ``custom-<name>``.

        It labels every figure and table, and names the folder that figures are saved in.
        """
        names = {"original": "fer2013", "altered": "fer2013-altered"}
        return "fixture" if self.is_fixture else names.get(self.identity.kind,
                                                           f"custom-{self.root.stem}")

    @property
    def form(self) -> str:
        """Which of the two forms of FER-2013, if it is the original; otherwise empty."""
        return "" if self.is_fixture else self.identity.form

    @property
    def identity(self) -> Identity:
        """What this dataset is, compared with the original FER-2013, image by image."""
        return Identity(*self._seen["identity"].tolist())

    @property
    def faults(self) -> pd.DataFrame:
        """The files that cannot be used: columns ``path`` and ``fault``, which says why."""
        return pd.DataFrame({"path": self._seen["fault_path"], "fault": self._seen["fault"]},
                            dtype=str)

    @property
    def pixels(self) -> np.ndarray:
        """All images, in the order of :func:`index_images`: uint8 [n, 48, 48]."""
        return self._seen["pixels"]

    def cached(self, what: str, compute: Callable[[], dict[str, np.ndarray]]) -> dict:
        """Return the arrays that ``compute`` returns, from the cache if no file has changed.

        A cache file that is missing, damaged or out of date is computed and written anew.
        """
        place = hashlib.blake2b(os.fsencode(self.root), digest_size=4).hexdigest()
        path = course.course_path("FER_CACHE", ".cache") / f"{self.root.stem}-{place}-{what}.npz"
        # Whatever is wrong with the file, the answer is the same: compute.
        with contextlib.suppress(Exception), np.load(path, allow_pickle=False) as file:
            if str(file["key"]) == self._stamp:
                return {field: file[field] for field in file.files if field != "key"}
        arrays = compute()
        buffer = io.BytesIO()
        np.savez(buffer, key=self._stamp, **arrays)
        try:
            course.write_whole(path, buffer.getbuffer())
        except CourseError as error:
            warnings.warn(f"{error} Without it, the images are read anew each time.", stacklevel=2)
        return arrays

    @functools.cached_property
    def _stamp(self) -> str:
        code = CACHE_FORMAT, PIL.__version__, IMAGE_SIZE, sources.NAMES
        text = f"{code}\n{sources.stamp(self.root)}"
        return hashlib.blake2b(os.fsencode(text), digest_size=16).hexdigest()

    @functools.cached_property
    def _seen(self) -> dict[str, np.ndarray]:
        seen = self.cached("images", functools.partial(_read_all, self.root))
        if count := len(seen["fault"]):
            warnings.warn(
                f"Left out of {self.root}: {count:,} files that cannot be used. The first is "
                f"{seen['fault_path'][0]} ({seen['fault'][0]}). Notebook 1 counts them.",
                stacklevel=4)
        return seen


def find_dataset() -> Dataset:
    """Return the dataset to use: ``FER_DATA`` if set, else FER-2013 if found, else the fixture.

    FER-2013 is looked for in ``data/``, where kagglehub keeps it (``make data``), and at Kaggle.
    ``FER_DATA`` is a folder or file in any form of the dataset; a relative path counts from the
    course's folder. If it points to nothing, raises CourseError.
    """
    usual = next((place for place in (*FER2013, *_from_kagglehub(), *KAGGLE)
                  if os.path.lexists(place) and (not place.is_dir() or any(
                      map(sources.visible, os.listdir(place))))), FIXTURE)
    chosen = os.environ.get("FER_DATA", "")
    if not os.path.exists(COURSE / chosen):  # as it was copied from elsewhere
        chosen = os.path.expandvars(os.path.expanduser(chosen.strip("'\" \t\r\n")))
        if chosen.startswith("file:"):
            chosen = url2pathname(chosen.removeprefix("file:"))
    root = Path(os.path.realpath(COURSE / (chosen or usual)))
    if not os.path.exists(root):
        raise CourseError(
            f"No dataset at {root}. Set FER_DATA to the folder or file of FER-2013, or unset it to "
            "use the bundled fixture. data/README.md tells how to get FER-2013.")
    return Dataset(root)


def _from_kagglehub() -> list[Path]:
    """Return where kagglehub has put Kaggle's ``msambare/fer2013``; it marks what came whole."""
    cache = os.environ.get("KAGGLEHUB_CACHE") or os.path.expanduser("~/.cache/kagglehub")
    folder = Path(cache, "datasets", "msambare", "fer2013")
    return [folder / "versions" / mark.stem for mark in sorted(folder.glob("*.complete"))]


def index_images(dataset: Dataset) -> pd.DataFrame:
    """List every image of a dataset; those that cannot be used are in ``dataset.faults`` instead.

    Returns a frame with one row an image, sorted by split, emotion and name, and the columns

    - ``split``, ``emotion``, ``path`` (``split/emotion/name``; FER-2013's have Kaggle's names),
    - ``width`` and ``height`` (pixels) and ``mode`` (Pillow's; ``L`` is 8-bit grey) of the file,
    - ``digest``, a hash of the grey pixels: equal pixels, equal digest,
    - ``brightness`` and ``contrast``, mean and standard deviation of the grey values (0 to 255),
    - ``flat``, the share of the pixels with the commonest grey value: 1 is a blank image.

    Raises CourseError if the dataset as a whole cannot be read, or a class is missing or unknown.
    """
    return pd.DataFrame({name: dataset._seen[name].tolist() for name in COLUMNS})


def _read_all(root: Path) -> dict[str, np.ndarray]:
    """Decode every image once; return the columns of the index, faults, pixels and identity."""
    found, faults, pixels = [], {}, []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's; what matters becomes a fault
        for path, read in tqdm(sources.entries(root), desc="Reading images", unit="",
                               delay=1, mininterval=1):
            try:
                image, (width, height), mode = read()
            except sources.Fault as fault:
                faults[path] = str(fault)
                continue
            digest = hashlib.blake2b(image.tobytes(), digest_size=8)
            if (width, height) != (IMAGE_SIZE, IMAGE_SIZE):
                digest.update(f"{width} x {height}".encode())
                image = image.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BILINEAR)
            found.append((path, width, height, mode, digest.hexdigest()))
            pixels.append(image.tobytes())
    homes = [f"{split}/{emotion}" for split in SPLITS for emotion in EMOTIONS + LEFT_OUT]
    held = {path.rpartition("/")[0] for path, *_ in found}
    for home in homes:
        if home not in held and not home.endswith(LEFT_OUT):
            first = [f" The first of {len(faults):,} others is {path} ({reason})."
                     for path, reason in faults.items()][:1]
            raise CourseError(f"{root} has no images in {home}/ that can be used.{''.join(first)} "
                              "Use a whole dataset: data/README.md tells how to get FER-2013.")
    greys = np.frombuffer(b"".join(pixels), np.uint8).reshape(-1, IMAGE_SIZE, IMAGE_SIZE)
    paths, *columns = zip(*found, strict=True)
    paths, identity = recognise(list(paths), np.transpose(columns[:2]), greys)
    parts = [path.split("/") for path in paths]
    order = sorted(range(len(parts)), key=lambda row: (
        homes.index("/".join(parts[row][:2])), parts[row][2]))
    splits, emotions, _ = zip(*parts, strict=True)
    columns = zip(COLUMNS, (splits, emotions, paths, *columns, *_statistics(greys)), strict=True)
    return {name: np.array(column)[order] for name, column in columns} | {
        "pixels": greys[order], "fault_path": np.array(list(faults), dtype=str),
        "fault": np.array(list(faults.values()), dtype=str), "identity": np.array(identity)}


def _statistics(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return brightness, contrast and flat of each image; see :func:`index_images`."""
    counts = np.array([np.bincount(image.ravel(), minlength=256) for image in pixels])
    size, values = IMAGE_SIZE ** 2, np.arange(256)
    sums, squares = counts @ values, counts @ values ** 2  # whole numbers, so exact
    return sums / size, np.sqrt(size * squares - sums ** 2) / size, counts.max(axis=1) / size


def balance(index: pd.DataFrame, per_class: dict[str, int], *, seed: int = 0) -> pd.DataFrame:
    """Draw the same number of images of every class; leave *disgust* out (report, section 2.2).

    ``index`` is from :func:`index_images`; ``per_class`` says how many images of each class to
    keep, by split, as in ``REPORT_SIZES``. The draw depends on the paths and the seed alone: the
    rows are sorted, and NumPy's ``RandomState`` is frozen, so every machine draws the same images.
    Returns the rows kept, with their row labels: ``index.drop(kept.index)`` is what was dropped.
    Raises CourseError if a class has fewer images than asked for.
    """
    kept = []
    for split, count in per_class.items():
        for emotion in EMOTIONS:
            images = index[(index["split"] == split) & (index["emotion"] == emotion)]
            if len(images) < count:
                raise CourseError(
                    f"{split}/{emotion} holds {len(images)} images, fewer than the {count} asked "
                    f"for. Ask for fewer: per_class in a notebook, --{split}-per-class elsewhere.")
            kept.append(images.sort_values("path").sample(count, random_state=seed))
    return pd.concat(kept).sort_index()


def count_images(frame: pd.DataFrame, splits=SPLITS) -> pd.DataFrame:
    """Return the images per split (rows) and class (columns), as the report's Figure 1 does."""
    counts = pd.crosstab(frame["split"], frame["emotion"])
    classes = [*EMOTIONS, *counts.columns.intersection(LEFT_OUT)]
    counts = counts.reindex(index=splits, columns=classes, fill_value=0)
    return counts.rename_axis(index=None, columns=None)


def load_images(dataset: Dataset, frame: pd.DataFrame) -> Examples:
    """Return the images of a frame, in its order, as grey 48 x 48; others were resized in memory.

    Raises CourseError if one is not in the dataset, or of another class than the six.
    """
    rows = pd.Index(dataset._seen["path"].tolist()).get_indexer(frame["path"])
    if (rows < 0).any():
        raise CourseError(
            f"{dataset.root} has no usable image {frame['path'].iloc[int((rows < 0).argmax())]}. "
            "Index this dataset again: the frame was made from another one.")
    if not frame["emotion"].isin(EMOTIONS).all():
        raise CourseError(f"Only images of {', '.join(EMOTIONS)} can be loaded with labels. Leave "
                          "the others out, as balance does.")
    labels = frame["emotion"].map(EMOTIONS.index).to_numpy(dtype=np.int64)
    return Examples(dataset.pixels[rows][..., None], labels, frame["path"].to_numpy(dtype=str))


def fingerprint(frame: pd.DataFrame) -> str:
    """Return 16 hexadecimal digits that stand for the images of a frame and their classes.

    Two frames agree only if they hold the same pixels under the same paths, in any order.
    """
    rows = sorted(frame["path"] + " " + frame["emotion"] + " " + frame["digest"])
    return hashlib.blake2b(os.fsencode("\n".join(rows)), digest_size=8).hexdigest()


def load_balanced(dataset: Dataset, per_class: dict[str, int], *, seed: int = 0) -> Balanced:
    """Index, balance and load in one step; see :func:`balance` for the parameters and errors."""
    index = index_images(dataset)
    kept = balance(index, per_class, seed=seed)
    left = index.drop(kept.index)
    left = left[(left["split"] == "test") & left["emotion"].isin(EMOTIONS)]
    train, test = (kept[kept["split"] == split] for split in SPLITS)
    about = {"dataset": dataset.name, "form": dataset.form, "fingerprint": fingerprint(kept)}
    train, test, left = (load_images(dataset, frame) for frame in (train, test, left))
    return Balanced(train, test, about, left)


def votes_of(dataset: Dataset) -> pd.DataFrame:
    """Return what ten people say of each image: counts of their answers, one row a path.

    The columns are the six classes, then four other answers. The original FER-2013 has the votes
    of FER+ (Barsoum et al., 2016), the fixture has drawn ones. Raises CourseError for any other.
    """
    if dataset.is_fixture:
        table = pd.read_csv(FIXTURE / "votes.csv")
    elif dataset.name == "fer2013":
        table = images()
    else:
        raise CourseError(f"{dataset.root} comes without votes: only the original FER-2013 and the "
                          "fixture have them. data/README.md tells how to get the original.")
    return table.set_index("path")[list(VOTES)].rename(columns=VOTES)


def learn_from_crowd(data: Balanced, votes: pd.DataFrame) -> Balanced:
    """Replace the labels of the training images by the crowd's shares of the six classes.

    ``votes`` is from :func:`votes_of`. Other answers than the six do not count; an image without
    any of the six keeps its label, as a share of 1. Test labels stay.
    """
    counts = votes.loc[data.train.ids, list(EMOTIONS)].to_numpy(np.float32)
    nobody = counts.sum(axis=1) == 0
    counts[nobody, data.train.labels[nobody]] = 1
    shares = counts / counts.sum(axis=1, keepdims=True)
    return data._replace(train=data.train._replace(labels=shares),
                         about=data.about | {"targets": "the crowd's shares"})
