"""Write what the course knows FER-2013 by, from the original itself. For maintainers.

    python experiments/make_identity.py FER2013_ZIP FER2013_CSV ROWS_CSV

FER2013_ZIP is Kaggle's msambare/fer2013, FER2013_CSV the competition's file, and ROWS_CSV a table
with one line for each of its rows: row, path in the zip, usage, and the ten votes of FER+. Writes
data/reference/fer2013_images.csv.gz and fer2013_signatures.npz. Neither holds an image. The table
gets four columns more, all from Kaggle's files: images with the same number in `digest` have the
same pixels, those with the same number in `group` are exact or near copies (near_copies.py), and
`brightness` and `contrast` are mean and standard deviation of the grey values.
"""

import gzip
import hashlib
import io
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from experiments.near_copies import find_groups, similar_pairs
from fer_helpers.dataset import Dataset, index_images
from fer_helpers.identity import COUNT, IMAGES, SIGNATURES, signatures
from machinery.files import write_whole

CSV_MD5 = "f8428a1edbd21e88f42c73edd2a14f95"  # as torchvision publishes it


def main(archive: Path, csv: Path, rows: Path) -> None:
    """Write both files, with the same bytes for the same input."""
    if hashlib.md5(csv.read_bytes()).hexdigest() != CSV_MD5:
        sys.exit(f"{csv} is not the competition's fer2013.csv: its MD5 is not {CSV_MD5}.")
    table = pd.read_csv(rows, keep_default_na=False).sort_values("row")
    if list(table["row"]) != list(range(COUNT)):
        sys.exit(f"{rows} does not have one line for each row from 0 to {COUNT - 1}.")
    dataset = Dataset(archive.absolute())
    index = index_images(dataset).set_index("path")
    index["group"] = find_groups(index, similar_pairs(dataset.pixels))
    index = index.loc[table["path"]]
    table = table.assign(
        digest=pd.factorize(index["digest"])[0], group=pd.factorize(index["group"])[0],
        **{name: index[name].round(1).to_numpy() for name in ("brightness", "contrast")})
    text = table.drop(columns="row").to_csv(index=False)
    write_whole(IMAGES, gzip.compress(text.encode(), mtime=0))

    with zipfile.ZipFile(archive) as files:
        kaggle = np.stack([np.asarray(Image.open(io.BytesIO(files.read(path))))
                           for path in table["path"]])
    pixels = pd.read_csv(csv)["pixels"].map(lambda text: np.array(text.split(), dtype=np.uint8))
    competition = np.stack(pixels.to_list()).reshape(-1, 48, 48)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, kaggle=signatures(kaggle),
                        csv_minus_kaggle=signatures(competition) - signatures(kaggle))
    write_whole(SIGNATURES, buffer.getvalue())


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
