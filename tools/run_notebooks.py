"""Run notebooks side by side; leave executed copies in build/, and pages of them in build/pages/.

    python tools/run_notebooks.py NAME ...        # `make notebooks` does it

One notebook is seldom busy on all processor cores, so two run at a time; `--jobs` says otherwise.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from uuid import uuid4

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat.reader import NotJSONError

from machinery.files import write_whole

COURSE = Path(__file__).resolve().parent.parent
FOLDER, BUILD = COURSE / "notebooks", COURSE / "build"
# The pages of `make site`, but a notebook that was run here is shown as it came out.
PAGES = ["sphinx", "-q", "-c", "docs", "-d", "build/pages/.doctrees", "-D", "run_here=1", ".",
         "build/pages"]
# No warning that a kernel talks to this process without encryption: it stays on this machine.
QUIETLY = ["--log-level=ERROR"]
# How long each takes beside the others. The longest start first: so no core is idle at the end.
SHARE = {"04_final_model": 4, "05_ablation_512": 3, "03_baseline_two_conv": 2, "07_ten_people": 2}


class Progress:
    """One line that says what is running, how much is done, and about how long the rest takes.

    A terminal shows it all the time; a file or a pipe gets it once a minute.
    """

    def __init__(self, names: list[str]):
        self.done = dict.fromkeys(names, 0.0)  # shares, 0 to 1
        self.running: dict = {}  # cells of each running notebook
        self.said: dict = {}  # its last line
        self.live, self.started, self.lock = sys.stdout.isatty(), time.perf_counter(), Lock()
        self.next = self.started + 60

    def left(self) -> str:
        """Return how many notebooks are through, and about how long the others will take."""
        through = f"{sum(share == 1 for share in self.done.values())} of {len(self.done)} done"
        whole = sum(SHARE.get(name, 1) for name in self.done)
        share = sum(SHARE.get(name, 1) * done for name, done in self.done.items()) / whole
        if not 0.05 < share < 1:
            return through
        seconds = (time.perf_counter() - self.started) * (1 - share) / share
        return f"{through}, about {seconds / 60:.0f} min left" if seconds > 60 else (
            f"{through}, less than a minute left")

    def tell(self, name: str, cell: int, line: str = "") -> None:
        """Take in that a notebook has come to a cell, or what the cell has just printed."""
        with self.lock:
            self.done[name] = min(cell / self.running[name], 0.99)
            self.said[name] = f"{name} {cell}/{self.running[name]} {line}".strip()
            if self.live or time.perf_counter() > self.next:
                self.next = time.perf_counter() + 60
                self.show(" | ".join([self.left(), *self.said.values()]))

    def show(self, status: str) -> None:
        """Write the line over the last one, cut to the width of the terminal."""
        if self.live:
            width = shutil.get_terminal_size().columns - 1
            status = f"\r{status[:width]:{width}}"
        print(status, end="" if self.live else "\n", flush=True)

    def end(self, name: str, result: str, failed: bool) -> None:
        """Say how a notebook ended, in a line that stays."""
        with self.lock:
            self.done[name] = 1
            self.said.pop(name, None)
            if self.live:
                self.show("")
                print("\r", end="")
            print(result if failed else f"{result}  ({self.left()})", flush=True)


def apart(manager):
    """Let a kernel talk through files of its own: two that start together may take one TCP port."""
    if os.name != "nt":  # ZeroMQ for Windows has only TCP
        manager.transport = "ipc"
        manager.connection_file = f"{tempfile.gettempdir()}/kernel-{uuid4().hex[:12]}.json"
    return manager


class Client(NotebookClient):
    """Runs a notebook, and tells its progress."""

    def __init__(self, name: str, notebook, progress: Progress, **options):
        self.tell = lambda index, line="": progress.tell(name, index + 1, line)
        progress.running[name] = len(notebook.cells)
        super().__init__(notebook, on_cell_start=lambda cell, cell_index: self.tell(cell_index),
                         **options)

    def create_kernel_manager(self):
        """Return the manager of the kernel that the notebook will run in."""
        return apart(super().create_kernel_manager())

    def output(self, outs, msg, display_id, cell_index):
        """Take the last line of what a cell prints, such as that of an epoch."""
        lines = msg["content"].get("text", "").strip().splitlines()
        if msg["msg_type"] == "stream" and lines:
            self.tell(cell_index, lines[-1])
        return super().output(outs, msg, display_id, cell_index)


def run(name: str, progress: Progress) -> bool:
    """Run one notebook and write its copy; return whether it went through."""
    started = time.perf_counter()
    try:
        notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
        Client(name, notebook, progress, timeout=None, extra_arguments=QUIETLY,
               resources={"metadata": {"path": FOLDER}}).execute()
    except (CellExecutionError, DeadKernelError, NotJSONError, RuntimeError) as error:
        progress.end(name, f"{error}\nFAILED: {name}", failed=True)
        return False
    write_whole(BUILD / f"{name}.ipynb", nbformat.writes(notebook).encode())
    progress.end(name, f"{time.perf_counter() - started:4.0f} s  build/{name}.ipynb", failed=False)
    return True


def write_pages() -> bool:
    """Write the pages of the course, with the copies in build/; return whether that went well."""
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", *PAGES], cwd=COURSE)
    if not done.returncode:
        print(f"{time.perf_counter() - started:4.0f} s  build/pages/index.html, to be opened in a "
              "browser", flush=True)
    return not done.returncode


def main() -> int:
    """Run what was asked for; return 1 if a notebook failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", metavar="NAME", help="such as 01_data_audit")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time")
    arguments = parser.parse_args()
    sys.stdout.reconfigure(errors="backslashreplace")
    try:
        BUILD.mkdir(exist_ok=True)
        with tempfile.TemporaryFile(dir=BUILD):
            pass
    except OSError as error:
        sys.exit(f"{BUILD} cannot be written to ({error.strerror}): work in a copy of the course, "
                 "or open the notebooks with make lab.")
    names = sorted(arguments.names, key=lambda name: -SHARE.get(name, 1))
    progress = Progress(names)
    some = "1 notebook" if len(names) == 1 else f"{len(names)} notebooks"
    print(f"Running {some}, {arguments.jobs} at a time.", flush=True)
    with ThreadPoolExecutor(max(1, arguments.jobs)) as pool:
        try:
            passed = list(pool.map(run, names, [progress] * len(names)))
        except KeyboardInterrupt:
            os._exit(130)  # do not wait for the others; their kernels end with this process
    written = not any(passed) or write_pages()
    return 0 if all(passed) and written else 1


if __name__ == "__main__":
    sys.exit(main())
