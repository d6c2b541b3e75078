import json
import os
import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest

from fer_helpers.course import COURSE
from machinery.keras_quietly import device, keras

PROGRAM = """import logging, os, sys
import numpy as np
from machinery import keras_quietly as quietly
sys.stderr.write("still ")
with quietly._silent_stderr():
    print("not heard", file=sys.stderr)
    os.write(2, b"nor by C++\\n")
print("heard", file=sys.stderr)
os.write(2, b"also by C++\\n")
print(logging.getLogger("tensorflow").level, *map(os.environ.get, (
    "TF_CPP_MIN_LOG_LEVEL", "KERAS_HOME")))
config = quietly.keras.config
print(config.backend(), config.image_data_format(), config.floatx(), config.epsilon())
print("recorded as", quietly.ONEDNN, flush=True)
quietly.keras.layers.Conv2D(32, 3)(np.zeros((64, 48, 48, 8)))"""


@pytest.mark.parametrize("switch", [None, "0"])
def test_the_import_says_nothing_and_what_comes_after_it_is_heard(switch, tmp_path):
    """Each entry of the other project's keras.json alone would stop Keras or change results.

    And convolutions go through oneDNN unless told otherwise: it prints a line for each of them.
    """
    settings = {"backend": "theano", "floatx": "float16", "image_data_format": "channels_first",
                "epsilon": 1}
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras" / "keras.json").write_text(json.dumps(settings))
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith(("TF_", "KERAS", "PYTHONUNBUFFERED"))}
    environment |= dict.fromkeys(["HOME", "USERPROFILE"], str(tmp_path)) | {
        "ONEDNN_VERBOSE": "1", "KERAS_HOME": str(tmp_path / ".keras")}
    if switch:  # what the user chooses holds
        environment |= {"TF_ENABLE_ONEDNN_OPTS": switch, "TF_CPP_MIN_LOG_LEVEL": "4"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True,
                          env=environment, cwd=COURSE)
    lines = done.stdout.splitlines()
    verbose = [line for line in lines if line.startswith("onednn_verbose")]
    assert done.stderr == "still heard\nalso by C++\n"
    assert [line for line in lines if line not in verbose] == [
        f"40 {4 if switch else 3} {COURSE / 'build' / 'keras'}",
        "tensorflow channels_last float32 1e-07", f"recorded as {switch is None}"]
    assert any(",exec,cpu,convolution," in line for line in verbose) == (
        switch is None and platform.machine() in ("x86_64", "AMD64"))  # others have no oneDNN
    assert json.loads((tmp_path / ".keras" / "keras.json").read_text()) == settings


@pytest.mark.parametrize(("backend", "devices", "said"), [
    ("tensorflow", ["cpu:0", "cpu:1"], "cpu"), ("jax", ["gpu:0", "cpu:0"], "gpu"),
    ("torch", "cuda", "gpu"), ("torch", "mps", "mps"), ("torch", "cpu", "cpu")])
def test_the_device(backend, devices, said, monkeypatch):
    """PyTorch says on what it puts a new array; the others have a list, the first is used."""
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: devices)
    monkeypatch.setattr(keras.ops, "zeros", lambda shape: SimpleNamespace(
        device=SimpleNamespace(type=devices)))
    assert device() == said
