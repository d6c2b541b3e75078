import json
import os
import subprocess
import sys

from fer_helpers.course import COURSE

PROGRAM = """import machinery.keras_quietly as quietly, logging, os, sys
print("still heard", file=sys.stderr)
os.write(2, b"also by C++\\n")
print(logging.getLogger("tensorflow").level, os.environ["TF_CPP_MIN_LOG_LEVEL"])
config = quietly.keras.config
print(config.backend(), config.image_data_format(), config.floatx(), config.epsilon())"""


def test_the_import_says_nothing_and_what_comes_after_it_is_heard(tmp_path):
    """Each entry of the other project's keras.json alone would stop Keras or change results."""
    settings = {"backend": "theano", "floatx": "float16", "image_data_format": "channels_first",
                "epsilon": 1}
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras" / "keras.json").write_text(json.dumps(settings))
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith(("TF_", "KERAS"))}
    environment |= dict.fromkeys(["HOME", "USERPROFILE"], str(tmp_path))
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True,
                          env=environment, cwd=COURSE)
    assert done.stderr == "still heard\nalso by C++\n"
    assert done.stdout == "40 3\ntensorflow channels_last float32 1e-07\n"
    assert json.loads((tmp_path / ".keras" / "keras.json").read_text()) == settings
