"""Where a program runs."""

import contextlib
import os
import platform
import re
import subprocess
from pathlib import Path


def machine(folder: Path) -> dict:
    """Return processor, number of cores, and the commit of a folder's repository, if it has one.

    The keys are ``processor``, ``cores`` and ``commit`` (40 digits, with ``-dirty`` if a file was
    changed, or nothing). Last digits and seconds of a training depend on them.
    """
    told = Path("/proc/cpuinfo")  # on Linux; ARM processors have no name there
    named = re.search("model name.*: (.*)", told.read_text("utf-8", "replace")
                      if told.exists() else "")
    commit = ""
    with contextlib.suppress(OSError):  # no git
        command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
        # The folder's own commit, and not that of a repository that it may lie in.
        own = os.environ | {"GIT_CEILING_DIRECTORIES": str(folder.parent)}
        commit = subprocess.run(command, cwd=folder, env=own, capture_output=True,
                                text=True).stdout.strip()
    return {"processor": named[1] if named else platform.processor(), "cores": os.cpu_count(),
            "commit": commit}
