"""The floors of CONTRIBUTING.md: imports go down only, and the helper stays small."""

import ast
import itertools
import re

import pytest

from experiments import mutants
from fer_helpers.course import COURSE

FLOORS = re.search(r"\n    notebooks/.*?\n    data/", (COURSE / "CONTRIBUTING.md").read_text(
    "utf-8"), re.DOTALL)[0]
LISTED = {package: [name for names in re.findall(r"^        ([a-z_, ]+?)  ", block, re.MULTILINE)
                    for name in names.split(", ")]
          for package, block in re.findall(r"^    (fer_helpers|machinery)/(.*?)(?=^    \w)",
                                           FLOORS, re.MULTILINE | re.DOTALL)}
TOOLS = {path.stem for path in (COURSE / "tools").glob("*.py")}  # they import each other by name
ORDER = ["tools", "experiments", *(f"{package}.{name}" for package, names in LISTED.items()
                                   for name in names)]


def imported(source):
    """Return the modules of the course that a program imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            yield from (node.module, *(f"{node.module}.{one.name}" for one in node.names))
        elif isinstance(node, ast.Import):
            yield from (one.name for one in node.names)


def climbs(module, source):
    """Return what a module imports from its own floor or from above it."""
    above = ORDER[:ORDER.index(module) + 1]
    return [name for name in imported(source)
            if name in above or name.split(".")[0] in {*above[:2], *TOOLS}]


@pytest.mark.parametrize("module", ORDER[2:])
def test_imports_go_down_only(module):
    assert climbs(module, (COURSE / f"{module.replace('.', '/')}.py").read_text("utf-8")) == []


@pytest.mark.parametrize("path", (COURSE / "experiments").glob("*.py"), ids=lambda path: path.stem)
def test_experiments_use_no_tool(path):
    assert not TOOLS & {*imported(path.read_text("utf-8"))}


def test_a_module_that_climbs_is_seen():
    assert climbs("fer_helpers.runs", "from lesson import steps") == ["lesson", "lesson.steps"]
    assert climbs("machinery.forms", "from fer_helpers import dataset") == ["fer_helpers.dataset"]
    assert climbs("fer_helpers.runs", "import experiments.plan") == ["experiments.plan"]
    assert climbs("fer_helpers.runs", "from fer_helpers.report import printed") == []


def test_the_page_names_every_module_and_the_helper_is_small():
    for package, names in LISTED.items():
        files = sorted((COURSE / package).glob("*.py"))
        assert sorted(names) == [file.stem for file in files if file.stem != "__init__"]
        assert len(files) <= 15
    lines = itertools.chain.from_iterable(
        file.read_text("utf-8").splitlines() for file in (COURSE / "fer_helpers").glob("*.py"))
    assert len(list(lines)) <= 1800, "it can be read in one sitting: say what the new one replaces"


def test_the_tests_that_mutants_are_tried_on_are_there():
    rooms = {*itertools.chain(*LISTED.values()), *mutants.TESTS}
    for room in rooms - {"__init__"}:
        for name in mutants.TESTS.get(room, [f"test_{room}.py"]):
            file, _, test = name.partition("::")
            assert f"def {test.split('[')[0]}" in (COURSE / "tests" / file).read_text("utf-8")
