"""`python -m benchmarks [NAME [arguments]]`: each takes --quick, --folder, --resume; all, table, compare."""

from __future__ import annotations

import ast
import pkgutil
import sys
from pathlib import Path

from . import _suite, _timing

FOLDER = Path(__file__).parent
WHOLE = {
    "all": "Every benchmark, then one table; all --quick in about ten minutes.",
    "table": "The figures of the results in a folder (the committed ones unless named).",
    "compare": "OLD NEW: what moved beyond the noise between two results or folders of results.",
}


def names() -> dict[str, str]:
    """Every benchmark and the first line of its docstring, without importing any."""
    found = {}
    for module in pkgutil.iter_modules([str(FOLDER)]):
        if not module.name.startswith("_"):
            text = ast.get_docstring(ast.parse((FOLDER / f"{module.name}.py").read_text())) or ""
            found[module.name] = text.partition("\n")[0]
    return found


def main(argv: list[str]) -> int:
    found = names()
    if not argv or argv[0] in ("-h", "--help"):
        print("usage: python -m benchmarks NAME [arguments]\n")
        for name, line in (found | WHOLE).items():
            print(f"  {name:<16} {line}")
        return 0
    name, *rest = argv
    if name == "all":
        return _suite.run_all(list(found), rest)
    if name == "compare":
        return _suite.compare(rest)
    if name == "table":
        print(_suite.table(Path(rest[0]) if rest else _timing.RESULTS))
        return 0
    if name not in found:
        print(f"no benchmark {name!r}; there are: {', '.join(found | WHOLE)}", file=sys.stderr)
        return 2
    _suite.main_of(name, rest)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
