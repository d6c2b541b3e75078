"""Settings for all tests. What is set here, at import, reaches the notebooks' kernels too."""

import os
import tempfile
from pathlib import Path

COURSE = Path(__file__).resolve().parent

# Tests run on the fixture, whatever the user has; figures and cache go elsewhere.
os.environ["FER_DATA"] = str(COURSE / "data" / "fixture")
FIGURES = tempfile.TemporaryDirectory(prefix="fer_figures_")
os.environ["FER_FIGURES"] = FIGURES.name
CACHE = tempfile.TemporaryDirectory(prefix="fer_cache_")
os.environ["FER_CACHE"] = CACHE.name


def pytest_collectstart(collector):
    """Leave stderr out of nbval's comparison: what C++ writes there differs between runners."""
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr",)
