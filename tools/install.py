"""Install the packages of requirements.lock into the environment of this Python.

    .venv/bin/python tools/install.py        # `make setup` does it

uv does the work, in a fifth of pip's time. Where uv cannot be had or fails, or with the argument
``pip``, pip does it. This runs before any package is installed.
"""

import ast
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

LOCK = Path(__file__).resolve().parent.parent / "requirements.lock"
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
# uv does not read pip's settings. These are handed on, so that both look in the same places.
SETTINGS = {
    "index-url": "UV_DEFAULT_INDEX", "extra-index-url": "UV_INDEX", "no-index": "UV_NO_INDEX",
    "find-links": "UV_FIND_LINKS", "cert": "SSL_CERT_FILE", "client-cert": "SSL_CLIENT_CERT",
    "trusted-host": "UV_INSECURE_HOST", "proxy": "ALL_PROXY",
}


def settings_for_uv(listed: str) -> dict[str, str]:
    """Translate what ``pip config list`` prints into environment variables of uv."""
    # As in pip, all places count equally. That is safe: the hashes decide what is taken.
    found = {"UV_INDEX_STRATEGY": "unsafe-best-match"}
    for line in reversed(listed.splitlines()):  # environment variables come first, and win
        name, _, value = line.partition("=")
        variable = SETTINGS.get(name.rpartition(".")[2])
        if variable:
            separator = "," if variable == "UV_FIND_LINKS" else " "
            found[variable] = separator.join(ast.literal_eval(value).split())
    return found


def with_uv() -> None:
    """Install uv with pip, by its lines in the lock; then all the others with uv."""
    install(PIP, re.findall(r"^uv==.*?(?=^\S|\Z)", LOCK.read_text("utf-8"), re.M | re.S)[0])
    listed = subprocess.run([*PIP, "config", "list"], capture_output=True, text=True).stdout
    uv = [sys.executable, "-m", "uv", "pip"]
    # What the user told uv itself comes last, and wins.
    install(uv, LOCK.read_text("utf-8"), env=settings_for_uv(listed) | os.environ)


def with_pip() -> None:
    """Install all packages but uv with pip."""
    install(PIP, re.sub(r"^uv==.*?(?=^\S|\Z)", "", LOCK.read_text("utf-8"), flags=re.M | re.S))


def install(installer: list[str], lines: str, **options) -> None:
    """Install what these lines of the lock name; a package without a right hash is refused."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "requirements.txt")
        path.write_text(lines, "utf-8")
        subprocess.run([*installer, "install", "--quiet", "--require-hashes", "-r", path],
                       check=True, **options)


def main() -> int:
    """Install; return the exit status."""
    try:
        if sys.argv[1:] != ["pip"]:
            with_uv()
            return 0
    except subprocess.CalledProcessError:
        print("uv could not do it, see above. Now pip does; that takes some minutes.", flush=True)
    try:
        with_pip()
    except subprocess.CalledProcessError:
        return 1  # pip has said why
    return 0


if __name__ == "__main__":
    sys.exit(main())
