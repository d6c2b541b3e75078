"""Import Keras the same for everybody: without messages, with oneDNN, whatever keras.json says."""

import contextlib
import logging
import os
import sys
from pathlib import Path


@contextlib.contextmanager
def _silent_stderr():
    """Send file descriptor 2 to nowhere: C++ does not go through Python's ``sys.stderr``."""
    sys.stderr.flush()
    saved = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


# TensorFlow 2.21 prints two lines of information even at log level 3, hence both measures.
# A failed import still raises its Python exception, so nothing that matters is lost.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Without AVX-512, TensorFlow leaves this fast library for CPUs off: training then takes twice as
# long, or longer. It sums in another order, so results differ in the last digits.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# What another project wrote into ~/.keras/keras.json (channels first, half precision) stays there.
os.environ["KERAS_HOME"] = str(Path(__file__).resolve().parents[1] / "build" / "keras")
with _silent_stderr():
    import keras
# TensorFlow warns of functions compiled twice. Ours are, on purpose: a last batch is smaller.
logging.getLogger("tensorflow").setLevel(logging.ERROR)

ONEDNN = keras.backend.backend() == "tensorflow" and os.environ["TF_ENABLE_ONEDNN_OPTS"] == "1"


def device() -> str:
    """Return what Keras trains on: ``cpu``, ``gpu``, or PyTorch's word for another."""
    if keras.backend.backend() == "torch":  # Keras has no list of its devices
        return keras.ops.zeros(1).device.type.replace("cuda", "gpu")
    return keras.distribution.list_devices()[0].split(":")[0]


__all__ = ["ONEDNN", "device", "keras"]
