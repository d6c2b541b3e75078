"""Draw the fixture: a tiny dataset of schematic faces in Kaggle's layout of FER-2013.

    python experiments/draw_fixture.py [folder]        # default: data/fixture, which must not exist

Brows, eyes and mouth carry the emotion. Strength, position, size, tilt, light and noise vary with
a seed, and some faces are nearly neutral, so that a network has something to confuse. Like
FER-2013, the fixture has classes of unequal size and a small *disgust*. A few faults are planted,
so that an audit finds something; `PLANTED` lists them. Ten voters answer to every face, with
chances that the script knows: see `votes.csv`, with the chance of the most likely answer.

The same seed draws the same bytes: only integers, the four operations and Python's own generator
are used, no trigonometry.
"""

import hashlib
import random
import shutil
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageOps

DATA = Path(__file__).parents[1] / "data"
SEED = 2013
SIZE = 48  # pixels of an image
FINE = 4  # drawn this much larger, then averaged down

COUNTS = {
    "train": {"happy": 38, "sad": 34, "fear": 32, "surprise": 30, "neutral": 36, "angry": 31,
              "disgust": 8},
    "test": {"happy": 15, "sad": 13, "fear": 12, "surprise": 12, "neutral": 14, "angry": 13,
             "disgust": 4},
}

# What each emotion does to the face, in pixels of the 48 x 48 image at full strength.
# brow: lift of the whole brow; inner: lift of its inner end; eye: half height of the eye;
# corners: lift of the mouth's corners; open: half height of the mouth; wide: half width.
FEATURES = {
    "neutral": dict(brow=0.0, inner=0.0, eye=2.0, corners=0.0, open=0.0, wide=6.0),
    "happy": dict(brow=0.5, inner=0.0, eye=1.5, corners=4.0, open=1.5, wide=8.0),
    "sad": dict(brow=0.0, inner=3.0, eye=1.4, corners=-3.5, open=0.0, wide=5.5),
    "fear": dict(brow=2.0, inner=2.5, eye=3.2, corners=-2.0, open=2.0, wide=7.0),
    "surprise": dict(brow=3.5, inner=0.0, eye=3.4, corners=0.0, open=5.0, wide=4.0),
    "angry": dict(brow=-1.5, inner=-3.0, eye=1.5, corners=-1.5, open=0.0, wide=6.0),
    "disgust": dict(brow=-1.0, inner=-1.0, eye=1.0, corners=-2.5, open=1.5, wide=5.0),
}

# The answers that FER+ counts, in its order; NF is not a face.
ANSWERS = {"neutral": "neutral", "happy": "happiness", "surprise": "surprise", "sad": "sadness",
           "angry": "anger", "disgust": "disgust", "fear": "fear", "contempt": "contempt",
           "unknown": "unknown", "no face": "NF"}
LOOK_ALIKE = {"happy": "contempt", "sad": "angry", "fear": "surprise", "surprise": "fear",
              "neutral": "sad", "angry": "disgust", "disgust": "angry"}
VOTERS = 10

# file -> what is wrong with it
PLANTED = {
    "train/happy/Training_00000003.jpg": "64 x 64 pixels",
    "train/sad/Training_00001005.jpg": "one constant grey",
    "test/fear/PrivateTest_00002005.jpg": "copy of train/fear/Training_00002007.jpg",
    "train/neutral/Training_00004009.jpg": "copy of train/sad/Training_00001011.jpg",
    "test/surprise/PublicTest_00003004.jpg": "mirror of train/surprise/Training_00003026.jpg",
}


def draw_face(emotion: str, strength: float, rng: random.Random, size: int = SIZE) -> Image.Image:
    """Return one grey face of `size` x `size` pixels; its expression has a strength of 0 to 1."""
    return draw_look({
        name: FEATURES["neutral"][name] + strength * (value - FEATURES["neutral"][name])
        + rng.uniform(-0.3, 0.3)
        for name, value in FEATURES[emotion].items()
    }, rng, size)


def draw_look(look: dict[str, float], rng: random.Random, size: int = SIZE) -> Image.Image:
    """Return a grey face with brows, eyes and mouth as `look` says; `rng` draws all the rest."""
    skin, background = rng.randint(150, 210), rng.randint(40, 100)
    ink = rng.randint(10, 60)
    scale = rng.uniform(0.95, 1.05)
    move_x, move_y = rng.uniform(-1.5, 1.5), rng.uniform(-1.5, 1.5)
    tilt = rng.uniform(-0.06, 0.06)  # the head leans: x moves with y
    unit = FINE * size / SIZE

    def at(x, y):
        """From face coordinates (pixels from the centre, y down) to the fine drawing."""
        return ((24 + move_x + scale * (x - tilt * y)) * unit,
                (24 + move_y + scale * (y + tilt * x)) * unit)

    def shape(points, fill):
        draw.polygon([at(x, y) for x, y in points], fill=fill)

    def stroke(points, width, fill):
        draw.line([at(x, y) for x, y in points], fill=fill, width=round(width * unit),
                  joint="curve")

    image = Image.new("L", (size * FINE, size * FINE), background)
    draw = ImageDraw.Draw(image)

    shape(_oval(0, 0, 17, 22), skin)
    if rng.random() < 0.8:  # hair
        shape([(x, y) for x, y in _oval(0, 0, 17.5, 22.5) if y < -10] + [(0, -12)], ink + 10)
    for side in (-1, 1):
        eye_x, eye_y = side * 7.0, -4.0
        shape(_oval(eye_x, eye_y, 3.4, max(look["eye"], 0.7)), 240)
        shape(_oval(eye_x, eye_y, 1.4, min(1.4, max(look["eye"], 0.7))), ink)
        outer, inner = -9.0 - look["brow"], -9.0 - look["brow"] - look["inner"]
        stroke([(side * 11.0, outer), (side * 3.5, inner)], 1.4, ink)
    stroke([(0, -2), (rng.choice((-1.5, 1.5)), 4), (0, 4.5)], 0.8, skin - 45)

    steps = [step / 6 for step in range(-6, 7)]
    lip = [(t * look["wide"], 11.0 - look["corners"] * (t * t - 0.4)) for t in steps]
    half = max(look["open"], 0.0)
    if half > 0.6:
        upper = [(x, y - half * (1 - t * t)) for (x, y), t in zip(lip, steps, strict=True)]
        lower = [(x, y + half * (1 - t * t)) for (x, y), t in zip(lip, steps, strict=True)]
        shape(upper + lower[::-1], ink)
    stroke(lip if half <= 0.6 else lower, 1.2, ink)

    return _light_and_noise(image.resize((size, size), Image.Resampling.BOX), rng)


def _oval(x, y, half_width, half_height):
    """Points of an ellipse, from rational arithmetic: t -> ((1 - t²), 2t) / (1 + t²)."""
    quarter = [((1 - t * t) / (1 + t * t), 2 * t / (1 + t * t))
               for t in (step / 8 for step in range(8))]
    turns = ((1, 0, 0, 1), (0, -1, 1, 0), (-1, 0, 0, -1), (0, 1, -1, 0))
    return [(x + half_width * (a * c + b * s), y + half_height * (d * c + e * s))
            for a, b, d, e in turns for c, s in quarter]


def _light_and_noise(image: Image.Image, rng: random.Random) -> Image.Image:
    """Light from one side, and a little noise in each pixel."""
    size = image.width
    slope_x, slope_y = rng.randint(-20, 20), rng.randint(-12, 12)
    noise = rng.randbytes(size * size)
    pixels = bytearray(image.tobytes())
    for row in range(size):
        for column in range(size):
            i = row * size + column
            light = (slope_x * (2 * column - size) + slope_y * (2 * row - size)) // size
            pixels[i] = max(0, min(255, pixels[i] + light + noise[i] // 12 - 10))
    return Image.frombytes("L", image.size, bytes(pixels))


def chances(emotion: str, strength: float) -> dict[str, float]:
    """Return how likely a voter gives each answer: the weaker the expression, the less certain."""
    if emotion == "no face":
        return {"no face": 1.0}
    sees_it = 0.25 + 0.7 * strength
    chance = dict.fromkeys(ANSWERS, 0.0)
    chance[emotion] += sees_it
    chance["neutral"] += (1 - sees_it) * 0.6
    chance[LOOK_ALIKE[emotion]] += (1 - sees_it) * 0.4
    return chance


def draw_votes(shown: dict[str, tuple[str, float]], rng: random.Random) -> list[str]:
    """Let ten voters answer to every image: lines of a CSV file, sorted by path."""
    lines = [",".join(["path", *ANSWERS.values(), "most_likely"])]
    for name, (emotion, strength) in sorted(shown.items()):
        chance = chances(emotion, strength)
        given = rng.choices(list(chance), list(chance.values()), k=VOTERS)
        counts = [str(given.count(answer)) for answer in ANSWERS]
        lines.append(",".join([name, *counts, f"{max(chance.values()):.4f}"]))
    return lines


def draw_fixture(folder: Path) -> None:
    """Draw all images into a new folder, plant the faults, write votes.csv and SHA256SUMS."""
    folder.mkdir(parents=True)
    rng, shown = random.Random(SEED), {}
    for split, counts in COUNTS.items():
        for number, (emotion, count) in enumerate(counts.items()):
            (folder / split / emotion).mkdir(parents=True)
            for i in range(count):
                prefix = "Training" if split == "train" else ("PublicTest", "PrivateTest")[i % 2]
                name = f"{split}/{emotion}/{prefix}_{1000 * number + i:08}.jpg"
                size = 64 if PLANTED.get(name, "").startswith("64") else SIZE
                shown[name] = emotion, rng.uniform(0.15, 1.0)
                image = draw_face(*shown[name], rng, size)
                if "constant" in PLANTED.get(name, ""):
                    image, shown[name] = Image.new("L", image.size, 0), ("no face", 1.0)
                image.save(folder / name, quality=92)
    for name, fault in PLANTED.items():
        if fault.startswith("copy of "):
            assert (folder / name).exists()
            shutil.copyfile(folder / fault.removeprefix("copy of "), folder / name)
            shown[name] = shown[fault.removeprefix("copy of ")]
        if fault.startswith("mirror of "):  # and darker
            with Image.open(folder / fault.removeprefix("mirror of ")) as image:
                darker = ImageOps.mirror(image).point(lambda grey: grey * 4 // 5)
            darker.save(folder / name, quality=92)
            shown[name] = shown[fault.removeprefix("mirror of ")]
    # Another generator, so that the images do not depend on the votes.
    votes = draw_votes(shown, random.Random(SEED + 1))
    (folder / "votes.csv").write_bytes(("\n".join(votes) + "\n").encode())
    sums = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}"
        for path in [*sorted(folder.rglob("*.jpg")), folder / "votes.csv"]
    ]
    (folder / "SHA256SUMS").write_text("\n".join(sums) + "\n", "utf-8", newline="\n")


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else DATA / "fixture"
    if target.exists():
        sys.exit(f"{target} exists already. Remove it first, or name another folder.")
    draw_fixture(target)
    print(f"Drew {sum(sum(counts.values()) for counts in COUNTS.values())} images into {target}")
