"""Say what is wrong with the outputs of notebooks: the check of pre-commit.

    python tools/check_outputs.py notebooks/*.ipynb
"""

import json
import sys
from pathlib import Path


def faults(notebook: dict) -> list[str]:
    """Return what is wrong: no outputs, cells not run in order, an error, a control's output."""
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    cells = [cell for cell in code if "skip-execution" not in cell["metadata"].get("tags", [])]
    outputs = [output for cell in cells for output in cell["outputs"]]
    found = []
    if not outputs:
        found.append("has no outputs: run it, and save it with them")
    if [cell["execution_count"] for cell in cells] != list(range(1, len(cells) + 1)):
        found.append("was not run once, from top to bottom, in a fresh kernel")
    if any(cell["outputs"] for cell in code if cell not in cells):
        found.append("holds the output of a control: clear it")
    return found + [f"holds an error: {output['ename']}: {output['evalue']}"
                    for output in outputs if output["output_type"] == "error"]


def main(paths: list[str]) -> int:
    """Print one line for each fault."""
    found = [f"{path} {fault}" for path in paths
             for fault in faults(json.loads(Path(path).read_text(encoding="utf-8")))]
    print(*found, sep="\n", end="\n" if found else "")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
