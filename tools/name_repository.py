"""Name the repository: in pyproject.toml, and from there in README's badges and the notebooks.

    python tools/name_repository.py https://github.com/OWNER/facial-emotions

Without an address, the one in pyproject.toml is written anew. This needs nothing but Python.
"""

import re
import sys
from pathlib import Path

COURSE = Path(__file__).resolve().parent.parent
FILES = [COURSE / "pyproject.toml", COURSE / "README.md", *COURSE.glob("notebooks/*.ipynb")]
ADDRESS = r"https://github\.com/([\w.-]+/[\w.-]+)"
FIRST = "blob/main/notebooks/01_data_audit.ipynb"
BADGES = {  # name: picture and page
    "tests": ("https://github.com/{place}/actions/workflows/test.yml/badge.svg",
              "https://github.com/{place}/actions"),
    "Colab": ("https://colab.research.google.com/assets/colab-badge.svg",
              f"https://colab.research.google.com/github/{{place}}/{FIRST}"),
    "Kaggle": ("https://kaggle.com/static/images/open-in-kaggle.svg",
               f"https://kaggle.com/kernels/welcome?src=https://github.com/{{place}}/{FIRST}"),
    "Binder": ("https://mybinder.org/badge_logo.svg",
               "https://mybinder.org/v2/gh/{place}/main?labpath=notebooks/01_data_audit.ipynb"),
    "Codespaces": ("https://github.com/codespaces/badge.svg", "https://codespaces.new/{place}"),
}


def named(text: str, address: str) -> str:
    """Return the text of one of the files with this address of the repository."""
    place = re.fullmatch(ADDRESS, address)[1]  # type: ignore[index]  # main has looked
    badges = "\n".join(f"[![{name}]({picture})]({page})".format(place=place)
                       for name, (picture, page) in BADGES.items())
    text = re.sub(r'(?<=\brepository = )(\\?")https:.*?(?=\\?")', rf"\1{address}", text)
    return re.sub("(?<=<!-- badges -->).*?(?=<!-- /badges -->)", f"\n\n{badges}\n\n", text,
                  flags=re.DOTALL)


def main(words: list[str]) -> str | None:
    """Write all files; return what is wrong with the address, if anything is."""
    there = re.search(f'^repository = "({ADDRESS})"', FILES[0].read_text("utf-8"), re.M)
    address = words[0].removesuffix("/").removesuffix(".git") if words else (
        there[1])  # type: ignore[index]  # it is there, or a test fails
    if not re.fullmatch(ADDRESS, address):
        return f"{address} is not an address such as https://github.com/OWNER/facial-emotions"
    for path in FILES:
        if (new := named(text := path.read_text("utf-8"), address)) != text:
            path.write_bytes(new.encode())
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
