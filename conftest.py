"""Settings for all tests. What is set here, at import, reaches the notebooks' kernels too."""

import os
import tempfile
from pathlib import Path

import nbval.kernel
from jupyter_client import KernelManager
from run_notebooks import apart

COURSE = Path(__file__).resolve().parent

# Tests run on the fixture, whatever the user has; figures go elsewhere.
os.environ["FER_DATA"] = str(COURSE / "data" / "fixture")
for name in ("FER_RUNS", "KAGGLEHUB_CACHE", "TF_ENABLE_ONEDNN_OPTS", "VENV"):
    os.environ.pop(name, None)
if "PYTEST_XDIST_WORKER" not in os.environ:  # the processes of pytest-xdist share this folder
    FIGURES = tempfile.TemporaryDirectory(prefix="fer_figures_")
    os.environ["FER_FIGURES"] = FIGURES.name

nbval.kernel.KernelManager = lambda **options: apart(KernelManager(**options))


def pytest_collectstart(collector):
    """Leave stderr out of nbval's comparison: what C++ writes there differs between runners."""
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr",)


def pytest_runtest_teardown(item, nextitem):
    """Leave a mark when a notebook is through: the test of the figures waits for all of them."""
    if item.path.suffix == ".ipynb" and (nextitem is None or nextitem.path != item.path):
        Path(os.environ["FER_FIGURES"], f"{item.path.stem}.ran").touch()
