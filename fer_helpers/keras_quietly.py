"""Import Keras without the start-up messages that TensorFlow's C++ code writes to the screen."""

import contextlib
import os
import sys


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
with _silent_stderr():
    import keras

__all__ = ["keras"]
