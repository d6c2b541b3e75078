import os
import subprocess
import sys

from fer_helpers.course import COURSE

PROGRAM = """import machinery.keras_quietly, logging, os, sys
print("still heard", file=sys.stderr)
os.write(2, b"also by C++\\n")
print(logging.getLogger("tensorflow").level, os.environ["TF_CPP_MIN_LOG_LEVEL"])"""


def test_the_import_says_nothing_and_what_comes_after_it_is_heard():
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True,
                          env=environment, cwd=COURSE)
    assert (done.stdout, done.stderr) == ("40 3\n", "still heard\nalso by C++\n")
