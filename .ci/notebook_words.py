"""Whether the outputs that notebooks carry are those of today: every word of them is said by a fresh run too.

    python .ci/notebook_words.py FOLDER FRESH

FRESH has the same notebooks, executed just now. Numbers and times are not compared, pictures neither.
"""

import json
import re
import sys
from pathlib import Path


def words(path: Path) -> set[str]:
    """The words of three letters and more in the printed outputs of a notebook."""
    cells = json.loads(path.read_text())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    texts = [output.get("text", []) for output in outputs if output["output_type"] == "stream"]
    return set(re.findall(r"[^\W\d_]{3,}", "".join("".join(text) for text in texts)))


stale = {}
for kept in sorted(Path(sys.argv[1]).glob("*.ipynb")):
    gone = words(kept) - words(Path(sys.argv[2]) / kept.name)
    if gone:
        stale[kept.name] = sorted(gone)
for name, gone in stale.items():
    print(f"{name}: outputs are stale, a fresh run does not say: {', '.join(gone)}")
sys.exit(1 if stale else 0)
