"""Plant one fault at a time in the course, and see whether the unit tests of its room notice.

    make mutants                                          12 faults in each room
    python experiments/mutants.py --each 40 --seed 1 models copies

Each mutant gets a copy of the packages in a folder of its own, with the rest of the course linked
beside it; your files are not changed. Its tests run in a fork of this process, which has TensorFlow
imported already: five seconds less for each. Survivors are printed. ``mutants.csv`` says of some
why they may live: it does not change the rate.

Why not mutmut or cosmic-ray: mutmut 3.8 forks, too, but leaves out decorated functions (properties,
caches, gradients) and whatever stands outside of functions (colours, tolerances, settings).
cosmic-ray 8 starts a process for each mutant, edits your files in place and changes no texts.
"""

import argparse
import ast
import builtins
import gc
import importlib
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import hypothesis
import pandas as pd
import pytest
import threadpoolctl

COURSE = Path(__file__).resolve().parent.parent
ENOUGH = 0.92
TESTS = {  # of rooms whose tests have another name than theirs
    "training": ["test_training.py",
                 "test_experiments.py::test_the_plan_names_what_the_shipped_runs_were[final]",
                 "test_models.py::test_names_and_first_weights_depend_on_the_seed_and_not_on_history"],
    "notebook": ["test_notebook_helpers.py"],
    "beyond": ["test_models.py", "test_experiments.py", "test_votes.py"],
}
# What the tests would import anew in each process; nothing here starts TensorFlow's threads.
HEAVY = ("machinery.keras_quietly", "scipy.stats", "sklearn.decomposition", "seaborn", "nbformat",
         "statsmodels.stats.proportion", "matplotlib.pyplot", "IPython.display", "tqdm.auto",
         "filelock", "statsmodels.stats.weightstats", "sklearn.model_selection")
# Taste, not meaning: no test should hold these fast.
TASTE = set("""figsize fontsize fontweight weight labelpad pad padding lw ls ms alpha capsize dpi
    bbox bbox_to_anchor colWidths cellLoc width_ratios frameon loc ncols ha va rotation square
    layout tick_params cbar_kws rcParams set_edgecolor set_facecolor margins grid tight name
    auto_set_font_size set_fontsize stacklevel strict""".split())  # noqa: SIM905
EITHER = """MaxPooling2D/AveragePooling2D GlobalAveragePooling2D/GlobalMaxPooling2D relu/tanh
    softmax/sigmoid same/valid train/test exact/near left/right top/bottom min/max argmin/argmax
    idxmin/idxmax any/all cos/sin mean/median sum/mean floor/ceil maximum/minimum width/height
    axhline/axvline xaxis/yaxis xlabel/ylabel precision/recall zeros/ones zeros_like/ones_like
    bilinear/nearest gray/gray_r Blues/Blues_r first/second low/high shift_x/shift_y zoom_x/zoom_y
    height_shift/width_shift accuracy/loss startswith/endswith isna/notna TRAIN_COLOUR/TEST_COLOUR
    ALERT_COLOUR/GOOD_COLOUR rglob/glob"""
SWAPS = {one: other for pair in EITHER.split() for a, b in [pair.split("/")]
         for one, other in ((b, a), (a, b))}
OPERATORS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Mod: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Pow: ast.Mult, ast.And: ast.Or, ast.Or: ast.And,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.USub: ast.UAdd, ast.Invert: ast.UAdd,
}


def other_value(value):
    """Return another constant, or None if there is no telling change."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1 if isinstance(value, int) or not value else value * 2
    if isinstance(value, str):
        if re.fullmatch("#[0-9a-f]{6}", value):
            return f"#{value[3:]}{value[1:3]}"
        if match := re.fullmatch(r"(.*\.)(\d)([f%e].*)", value):  # a printed format
            return f"{match[1]}{int(match[2]) + 1}{match[3]}"
        return SWAPS.get(value)
    return None


def changes(node):
    """Give the single changes of a node: a field, its new value, and the part that it concerns."""
    match node:
        case ast.Constant(value=value) if (other := other_value(value)) is not None:
            yield "value", other, node
        case ast.Compare(ops=[operator]) if type(operator) in OPERATORS:
            yield "ops", [OPERATORS[type(operator)]()], node
        case ast.BinOp(op=operator) | ast.BoolOp(op=operator) | ast.UnaryOp(op=operator) \
                | ast.AugAssign(op=operator) if type(operator) in OPERATORS:
            yield "op", OPERATORS[type(operator)](), node
        case ast.If() | ast.IfExp() | ast.While():
            yield "test", ast.UnaryOp(ast.Not(), node.test), node.test
        case ast.comprehension(ifs=[test]):
            yield "ifs", [], test
        case ast.Attribute(attr=word) if word in SWAPS:
            yield "attr", SWAPS[word], node
        case ast.Name(id=word) if word in SWAPS and (word.isupper() or hasattr(builtins, word)):
            yield "id", SWAPS[word], node
        case ast.Slice():
            yield from ((side, None, node) for side in ("lower", "upper", "step")
                        if getattr(node, side))
        case ast.Call():
            for one in node.keywords:
                if one.arg not in TASTE and not (one.arg == "color" and "'0." in ast.unparse(one)):
                    yield "keywords", [other for other in node.keywords if other is not one], node
            if len(node.args) > 1:
                yield "args", node.args[:-1], node
    body = node.body if isinstance(getattr(node, "body", None), list) else []
    for i, part in enumerate(body):
        called = isinstance(part, ast.Expr) and isinstance(part.value, ast.Call) \
            and not {*ast.unparse(part.value.func).split(".")} & TASTE
        if called or isinstance(part, ast.AugAssign):
            yield "body", [*body[:i], ast.Pass(), *body[i + 1:]], part


def serious(tree):
    """Walk over a tree in order, without messages of errors, types, and matters of taste."""
    skipped = (ast.Raise, ast.Import, ast.ImportFrom, ast.arg)
    types = getattr(tree, "annotation", None), getattr(tree, "returns", None)
    for child in ast.iter_child_nodes(tree):
        name = (child.arg or "" if isinstance(child, ast.keyword) else ast.unparse(child.func)
                if isinstance(child, ast.Call) else "")
        if not isinstance(child, skipped) and child not in types \
                and not {name, *name.split(".")} & TASTE:
            yield child
            yield from serious(child)


def mutants(source: str) -> list[tuple[int, str, str, str]]:
    """Give all mutants of a program: line, what was there, what is there now, and the program."""
    found, tree = [], ast.parse(source)
    for node in serious(tree):
        for name, value, part in [*changes(node)]:
            before, old = ast.unparse(part), getattr(node, name)
            setattr(node, name, value)
            after = ast.unparse(node if part is node else value if name == "test" else [])
            found.append((part.lineno, before, after, ast.unparse(ast.fix_missing_locations(tree))))
            setattr(node, name, old)
    return found


def attempt(file: Path, source: str, seconds: float) -> tuple[str, float, float]:
    """Test a program in the place of another: who noticed it (or nobody), CPU-seconds, seconds."""
    tests = TESTS.get(file.stem, [f"test_{file.stem}.py"])
    with tempfile.TemporaryDirectory(prefix="mutant_") as folder:
        tree, started = Path(folder), time.monotonic()
        for entry in COURSE.iterdir():
            if entry.name in ("fer_helpers", "machinery", "experiments"):
                shutil.copytree(entry, tree / entry.name,
                                ignore=shutil.ignore_patterns("__pycache__"))
            elif entry.name != ".git":
                (tree / entry.name).symlink_to(entry)
        (tree / file.relative_to(COURSE)).unlink()  # the course's own, if it is a link
        (tree / file.relative_to(COURSE)).write_text(source)
        child = os.fork()
        if child == 0:
            os.setsid()
            output = os.open(tree / "output", os.O_CREAT | os.O_WRONLY)
            os.dup2(output, 1), os.dup2(output, 2)
            os.chdir(tree)
            ours = ("fer_helpers", "machinery", "experiments")  # are imported anew
            for name in [name for name in sys.modules if name.startswith(ours)]:
                del sys.modules[name]
            sys.path.insert(0, folder)
            tempfile.tempdir = folder  # whatever the tests leave goes with it
            os.environ["PYTHONPATH"] = os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")])
            os._exit(pytest.main([
                "-x", "-q", "--tb=no", "--no-header", "-p", "no:nbval", "-p", "no:anyio",
                "-p", "no:xdist", f"--rootdir={folder}",
                "-o", "addopts=-p no:cacheprovider --import-mode importlib",
                f"--basetemp={folder}/tmp", *(f"{folder}/tests/{name}" for name in tests)]))
        while not (ended := os.wait4(child, os.WNOHANG))[0]:
            if time.monotonic() - started > seconds:
                os.killpg(child, signal.SIGKILL)
            time.sleep(0.02)
        _, status, used = ended
        text = (tree / "output").read_text(errors="replace")
        failed = re.search(r"^(?:FAILED|ERROR) (?:\S*/)?(\S+)", text, re.MULTILINE)
        by = "" if status == 0 else failed[1] if failed else "time" if status == 9 else text[-2000:]
        return by, used.ru_utime + used.ru_stime, time.monotonic() - started


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("rooms", nargs="*", help="all, if none is named")
    parser.add_argument("--each", type=int, default=12, help="mutants of each room")
    parser.add_argument("--seed", type=int, default=0, help="draws the mutants")
    options = parser.parse_args()
    for name in HEAVY:
        importlib.import_module(name)
    # A fault is noticed by its first example; nobody needs the shortest.
    hypothesis.settings.register_profile("first", phases=[hypothesis.Phase.generate])
    hypothesis.settings.load_profile("first")
    gc.freeze()  # what is here now is nothing for a fork to look through
    threadpoolctl.threadpool_limits(1)  # in a fork, threads of linear algebra wait for each other
    files = [file for place in ("fer_helpers/[!_]*.py", "machinery/[!_]*.py",
                                "experiments/beyond.py", "experiments/near_copies.py")
             for file in sorted(COURSE.glob(place))]
    reasons = {(row.room, row.line, row.before, row.after): row.reason for row in pd.read_csv(
        Path(__file__).with_suffix(".csv"), keep_default_na=False, dtype=str).itertuples()}
    tried, noticed, cpu = 0, 0, 0.0
    for file in files:
        room, source = file.stem, file.read_text()
        if options.rooms and room not in options.rooms:
            continue
        by, used, seconds = attempt(file, source, 600)
        if by:
            sys.exit(f"The tests of {room} fail without any fault: {by}")
        every, killed = mutants(source), 0
        drawn = random.Random(f"{options.seed} {room}").sample(every, min(options.each, len(every)))
        for line, before, after, changed in sorted(drawn):
            by, more, _ = attempt(file, changed, 20 + 5 * seconds)
            used, killed = used + more, killed + bool(by)
            if not by:
                text = source.splitlines()[line - 1].strip()
                reason = reasons.get((room, text, before, after), "no reason is known")
                print(f"{room}.py:{line} survives: {reason}\n    {text}\n"
                      f"    - {before}\n    + {after or '(left out)'}", flush=True)
        tried, noticed, cpu = tried + len(drawn), noticed + killed, cpu + used
        print(f"{room:14} {killed:3} of {len(drawn):3} noticed ({len(every)} possible), "
              f"{used:5.0f} CPU-seconds", flush=True)
    print(f"{noticed} of {tried} noticed: {noticed / tried:.1%}, {cpu:.0f} CPU-seconds")
    return int(noticed / tried < ENOUGH)


if __name__ == "__main__":
    sys.exit(main())
