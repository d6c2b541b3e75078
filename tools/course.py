"""Do what the course needs, the same on Windows, macOS and Linux; make only calls this.

    python tools/course.py notebooks                    # help lists the commands
    python tools/course.py notebooks NAMES="01 06" JOBS=1

The first command makes an environment in .venv from requirements.lock. Settings are words such as
``JOBS=1``, or environment variables: VENV (its folder), INSTALLER (uv or pip), JOBS (how many at a
time), NAMES (which notebooks), OPEN=1 (show the pages that were made). This file needs nothing but
Python. Where the course is installed already (conda), no environment is made.
"""

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import webbrowser
from importlib import metadata
from pathlib import Path

COURSE = Path(__file__).resolve().parent.parent
SETTINGS = {"VENV": ".venv", "INSTALLER": "uv", "JOBS": "2", "NAMES": "", "OPEN": ""}
FIXTURE = {"FER_DATA": "data/fixture"}
MARK = "environment of the course"  # a file: the folder may be removed
FITS = "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))"
AT_HOME = ("jupyterlab", "setuptools")  # nobody needs these in Colab or in Kaggle's notebooks
# JupyterLab would otherwise ask the network for news and newer versions.
NEWS = "@jupyterlab/apputils-extension:announcements"
# A notebook holds the version of its Python. With each Python saying the same, JupyterLab does not
# call a notebook unsaved as soon as it is opened.
SAME_VERSION = """from ipykernel.ipkernel import IPythonKernel
IPythonKernel.language_info["version"] = "3"
"""
# Otherwise each kernel warns that it is not: it talks to a process of this machine.
ENCRYPTED = "KernelManager.transport_encryption=auto"


def setup():
    """make the environment in .venv (the others call it)"""
    python()


def packages():
    """in Colab or Kaggle's notebooks: install what their Python lacks, and replace nothing"""
    text = (COURSE / "pyproject.toml").read_text("utf-8")
    wanted = re.findall(r'^    "(([\w-]+)\S+)"', text.partition("[project.optional")[0], re.M)
    # Of two versions the first on the path is the one that is imported; damaged ones have no name.
    there = {entry.name.lower(): entry.version
             for entry in reversed([*metadata.distributions()]) if entry.name}
    lacking = [package for package, name in wanted
               if name not in there and name not in AT_HOME]
    if lacking and not elsewhere() and Path.cwd() == COURSE / "notebooks":
        sys.exit(f"The Python of this notebook's kernel, {sys.executable}, lacks {lacking[0]}, and "
                 f"maybe more. Choose that of {setting('VENV')} (`make setup` makes it), or open "
                 "the notebooks with `make lab`.")
    if lacking:
        print(f"Installing {' '.join(lacking)}", flush=True)
        kept = "".join(f"{name}=={version}\n" for name, version in there.items())
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "kept.txt").write_text(kept, "utf-8")
            command = ["-m", "pip", "install", "--quiet", "--constraint", f"{folder}/kept.txt"]
            sys.exit(subprocess.run([sys.executable, *command, *lacking]).returncode)


def check():
    """say what is ready and what is missing, what trains here, and how long that takes"""
    run("tools/check.py")


def check_exercises():
    """say how many exercises are right, in mine/ or notebooks/"""
    run("tools/check_exercises.py")


def data():
    """get FER-2013 from Kaggle (60 MB), and check that it is the original"""
    run("tools/get_data.py")


def notebooks():
    """run the notebooks top to bottom, two at a time: build/pages/index.html"""
    run("tools/run_notebooks.py", "--jobs", setting("JOBS"), *names())
    show(f"build/pages/notebooks/{names()[0]}.html")


def site():
    """build the course as pages with a search: build/site/index.html"""
    run("-m", "sphinx", "-q", "-W", "--keep-going", "-c", "docs", "-d", "build/doctrees", ".",
        "build/site")
    print("Open build/site/index.html in a browser. No internet is needed.")
    show("build/site/index.html")


def slides():
    """make the slides of Part I, one hour, offline: build/slides/index.html"""
    run("tools/make_slides.py")
    show("build/slides/index.html")


def sheets():
    """make the sheets to print, A4, one page each: build/sheets/"""
    run("tools/make_sheets.py")


def lab():
    """open JupyterLab on the first notebook"""
    options = []
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        print("You are root, as usual in a container: JupyterLab starts all the same.", flush=True)
        options.append("--allow-root")
    try:
        webbrowser.get()
    except webbrowser.Error:
        print("There is no browser here: open the address that follows in one.", flush=True)
        options.append("--no-browser")
    # Without these three, each notebook and each connection would begin with a warning.
    run("-m", "jupyter", "trust", *(f"notebooks/{name}.ipynb" for name in names()), quiet=True)
    options += [f"--Mapping{ENCRYPTED}", '--ServerApp.tornado_settings={"ws_ping_timeout": 30000}',
                "--LabApp.extra_labextensions_path=tools/lab"]  # pictures get their text
    run("-m", "jupyterlab", f"--ServerApp.root_dir={COURSE}",
        "--LabApp.default_url=/lab/tree/notebooks/01_data_audit.ipynb", *options)


def test():
    """style, types, unit tests, and every notebook again on the fixture"""
    run("-m", "ruff", "check")
    run("-m", "mypy")
    # With what the notebooks were made with, whatever the user has chosen.
    run("-m", "pytest", "-n", setting("JOBS"), "--dist", "loadscope", "--no-loadscope-reorder",
        environment={"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"})


def test_backends():
    """train, stop and go on with each backend of Keras that is installed"""
    for backend in ("tensorflow", "jax", "torch"):
        print(f"With {backend}:", flush=True)
        run("-m", "pytest", "-q", "-rs", "-W", "ignore", "tests/test_backends.py",
            environment={"KERAS_BACKEND": backend})


def bench():
    """time every step beside the report's way; the table is in benchmarks/"""
    run("benchmarks/bench.py")


def mutants():
    """for maintainers: plant faults in the helper; do the unit tests notice?"""
    run("experiments/mutants.py")


def figures():
    """redraw the figures of the runs that come with the course, and of the fixture"""
    run("tools/run_notebooks.py", "--jobs", setting("JOBS"), *names(), environment=FIXTURE)


def refresh():
    """for maintainers: notebooks in place, figures, tables of the pages, on the fixture"""
    run("-m", "jupyter", "nbconvert", "--to", "notebook", "--execute", "--inplace",
        "--ExecutePreprocessor.record_timing=False", f"--{ENCRYPTED}",
        "--ExecutePreprocessor.store_widget_state=False",
        *(f"notebooks/{name}.ipynb" for name in names()), environment=FIXTURE)
    for program in ("write_readme", "write_gallery", "lesson"):
        run(f"tools/{program}.py")


def lock():
    """for maintainers: choose versions anew and write requirements.lock"""
    extras = (f"--extra={name}" for name in ("test", "scale", "setup", "site", "slides", "kaggle"))
    run("-m", "uv", "pip", "compile", "pyproject.toml", *extras, "--universal",
        "--python-version", "3.11", "--upgrade", "--fork-strategy", "fewest", "--generate-hashes",
        "--no-annotate", "--custom-compile-command", "make lock", "--output-file",
        "requirements.lock")


def clean():
    """remove the environment and the executed copies"""
    if ours():  # whatever VENV names, nothing else is removed
        shutil.rmtree(venv())
    shutil.rmtree(COURSE / "build", ignore_errors=True)


def help():
    """list the commands"""
    for name, function in COMMANDS.items():
        print(f"{name:16} {function.__doc__}")


COMMANDS = {function.__name__.replace("_", "-"): function for function in (
    help, setup, packages, check, check_exercises, data, notebooks, site, slides, sheets, lab, test,
    test_backends, bench, mutants, figures, refresh, lock, clean)}


def setting(name):
    """Return a setting: a word of the command line, or else an environment variable."""
    return os.environ.get(name) or SETTINGS[name]


def names():
    """Return the notebooks that were asked for; NAMES has their names or how these begin."""
    there = sorted(path.stem for path in COURSE.glob("notebooks/*.ipynb"))
    wanted = setting("NAMES").replace(",", " ").split()
    for start in wanted:
        if not any(name.startswith(start) for name in there):
            sys.exit(f"No notebook {start}. There are {', '.join(there)}.")
    return [name for name in there if name.startswith(tuple(wanted or [""]))]


def run(*command, environment=None, quiet=False):
    """Run a program of the course with its Python and in its folder; end here if it fails."""
    done = subprocess.run([python(), *command], cwd=COURSE, env=surroundings(environment or {}),
                          stdout=subprocess.DEVNULL if quiet else None)
    if done.returncode:
        sys.exit(done.returncode)


def surroundings(more):
    """Return the environment variables of all programs, kernels and notebooks."""
    found = {**os.environ, **more}
    # Every file and pipe is UTF-8, whatever the system's language.
    found["PYTHONUTF8"] = "1"
    found.pop("PYTHONIOENCODING", None)
    # Let Python keep what it has compiled: importing TensorFlow would take three times as long.
    found.pop("PYTHONDONTWRITEBYTECODE", None)
    # This checkout's helpers, even where those of another one are installed.
    found["PYTHONPATH"] = os.pathsep.join(filter(None, [str(COURSE), found.get("PYTHONPATH")]))
    return found


def show(page):
    """Open a page in the browser if OPEN is set."""
    if setting("OPEN"):
        webbrowser.open((COURSE / page).as_uri())


def venv():
    """Return the folder of the environment."""
    return COURSE / os.path.expanduser(setting("VENV"))


def ours():
    """Say whether VENV names an environment that this program made; older ones have no mark."""
    return any(all((venv() / name).exists() for name in names)
               for names in ([MARK], ["ready", "pyvenv.cfg"]))


def versions():
    """Return a digest of what an environment is made from: another one, and it is out of date."""
    lines = [line for name in ("requirements.lock", "pyproject.toml")
             for line in (COURSE / name).read_bytes().splitlines()
             if not line.startswith(b"repository = ")]
    return hashlib.sha256(b"\n".join(lines)).hexdigest()


def python():
    """Return the Python that has the course's packages; make its environment if there is none."""
    if not os.environ.get("VENV") and has_the_course():
        return sys.executable
    found = str(venv() / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
    ready = venv() / "ready"
    if os.path.exists(found) and ready.exists() and ready.read_text("utf-8") == versions():
        return found
    steps = [[found, "tools/install.py", setting("INSTALLER")],
             [found, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
              "--no-build-isolation", "--editable", "."]]
    if not os.access(COURSE, os.W_OK):
        steps.pop()  # in a shared folder that may only be read, PYTHONPATH has to be enough
    if os.path.exists(found) and ours():
        # What is there stays until the new is installed, and what was added stays for good.
        print(f"Bringing the environment in {setting('VENV')} up to date.", flush=True)
    else:
        steps.insert(0, [base_python(), "-m", "venv", str(venv())])
        if ours():
            shutil.rmtree(venv())  # its Python is gone
        elif venv().exists() and os.listdir(venv()):
            sys.exit(f"{venv()} holds other files, and no environment of this course. Name "
                     "another folder, VENV=..., or remove it.")
        print(f"Making an environment in {setting('VENV')}, once: 2.7 GB, a minute or a few.",
              flush=True)
        venv().mkdir(parents=True, exist_ok=True)
        (venv() / MARK).touch()
    for command in steps:
        if subprocess.run(command, cwd=COURSE, env=surroundings({})).returncode:
            sys.exit(f"The environment could not be made, see above. {hint()}".strip())
    subprocess.run([found, "-m", "jupyter", "labextension", "disable", "--level=sys_prefix", NEWS],
                   cwd=COURSE, capture_output=True)
    settings = venv() / "etc" / "ipython" / "ipython_kernel_config.py"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(SAME_VERSION, "utf-8")
    ready.write_text(versions(), "utf-8")
    return found


def has_the_course():
    """Say whether this Python has the course's packages: with conda, in Colab, at Kaggle."""
    try:
        return elsewhere() or bool(metadata.version("fer-helpers"))
    except metadata.PackageNotFoundError:
        return False


def elsewhere():
    """Say whether this is Colab or one of Kaggle's notebooks, which bring their own packages."""
    return bool(os.environ.keys() & {"COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE"})


def base_python():
    """Return a Python of 3.11 to 3.13: PYTHON if it is set, else this one, else one by its name."""
    chosen = os.environ.get("PYTHON")
    for name in [chosen] if chosen else [sys.executable, "python3.12", "python3.13", "python3.11"]:
        if shutil.which(name) and not subprocess.run([name, "-c", FITS]).returncode:
            return name
    found = f"{chosen} is not one" if chosen else f"this is {platform.python_version()}"
    sys.exit(f"The course needs Python 3.11, 3.12 or 3.13, and {found}. Install one, or name it: "
             "make PYTHON=/path/to/python3.12; on Windows: py -3.12 tools/course.py")


def hint():
    """Say what is known of systems where the packages cannot be installed."""
    system = f"{platform.system()} {platform.machine()}"
    alpine = platform.system() == "Linux" and platform.libc_ver()[0] != "glibc"
    if system in ("Darwin x86_64", "Windows ARM64") or alpine:
        return "TensorFlow has no package for this system: docs/platforms.md tells what to do."
    if os.name == "nt" and len(str(COURSE)) > 70:
        return "Windows may cut paths: move the course to one of at most 70 characters."
    return ""


def main(words):
    """Do what the words of the command line say; return the exit status."""
    for word in words[1:]:
        name, equals, value = word.partition("=")
        if not equals or name not in SETTINGS:
            sys.exit(f"{word} is not a setting. There are {', '.join(SETTINGS)}, as in JOBS=1.")
        os.environ[name] = value
    if not words or words[0] not in COMMANDS:
        help()
        return 2 if words else 0
    try:
        COMMANDS[words[0]]()
    except KeyboardInterrupt:
        return 130  # the program that was stopped has said what is to say
    return 0


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="backslashreplace")  # a path may have letters that it lacks
    sys.exit(main(sys.argv[1:]))
