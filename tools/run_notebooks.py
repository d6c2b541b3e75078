"""Run notebooks side by side; leave executed copies and pages in build/.

    python tools/run_notebooks.py NAME ...        # `make notebooks` does it

One notebook is seldom busy on all processor cores, so two run at a time; `--jobs` says otherwise.
"""

import argparse
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbconvert import HTMLExporter
from nbconvert.preprocessors import CoalesceStreamsPreprocessor

COURSE = Path(__file__).resolve().parent.parent
FOLDER, BUILD = COURSE / "notebooks", COURSE / "build"
# Pages load nothing from the network.
OFFLINE = dict.fromkeys(["mathjax_url", "require_js_url", "jquery_url", "mermaid_js_url"], "")
# No warning that a kernel talks to this process without encryption: it stays on this machine.
QUIETLY = ["--log-level=ERROR"]
# These take longest: started first, they leave no core idle at the end.
LONGEST = ["04_final_model", "05_ablation_512", "03_baseline_two_conv"]


def run(name: str) -> bool:
    """Run one notebook, write its copy and its page; return whether it went through."""
    started = time.perf_counter()
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    say = partial(print, flush=True)
    try:
        NotebookClient(notebook, timeout=None, extra_arguments=QUIETLY,
                       resources={"metadata": {"path": FOLDER}}).execute()
    except (CellExecutionError, DeadKernelError) as error:
        say(f"{error}\nFAILED: {name}")
        return False
    nbformat.write(notebook, BUILD / f"{name}.ipynb")
    exporter = HTMLExporter(preprocessors=[CoalesceStreamsPreprocessor], **OFFLINE)
    page, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": name}})
    (BUILD / f"{name}.html").write_text(page, encoding="utf-8")
    say(f"{time.perf_counter() - started:4.0f} s  build/{name}.html")
    return True


def main() -> int:
    """Run what was asked for; return 1 if a notebook failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", metavar="NAME", help="such as 01_data_audit")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time")
    arguments = parser.parse_args()
    BUILD.mkdir(exist_ok=True)
    with ThreadPoolExecutor(arguments.jobs) as pool:
        try:
            passed = list(pool.map(run, sorted(arguments.names, key=lambda n: n not in LONGEST)))
        except KeyboardInterrupt:
            os._exit(130)  # do not wait for the others; their kernels end with this process
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
