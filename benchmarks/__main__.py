"""`python -m benchmarks [NAME [arguments]]`."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


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
        for name, line in found.items():
            print(f"  {name:<16} {line}")
        return 0
    name, *rest = argv
    if name not in found:
        print(f"no benchmark {name!r}; there are: {', '.join(found)}", file=sys.stderr)
        return 2
    importlib.import_module(f"benchmarks.{name}").main(rest)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
