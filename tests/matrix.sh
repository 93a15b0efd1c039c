#!/usr/bin/env bash
# The tests on other Pythons and on the lowest versions that pyproject.toml allows.
#
#   tests/matrix.sh lowest              the lowest versions of all dependencies, with this python3
#   tests/matrix.sh 3.12 3.13           the newest versions, with python3.12 and python3.13
#   tests/matrix.sh lowest:3.11 3.13    both
#   TESTS="tests/run/test_train.py" tests/matrix.sh lowest      a part of the tests
#
# Each runs in a virtual environment of its own, outside the checkout, from a wheel that is built anew; it
# takes as long as the tests do (TESTS chooses a part; "import" only imports and trains once). The exit status
# says whether all passed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
checkout=$PWD

[ $# -gt 0 ] || { sed -n '2,12p' "${BASH_SOURCE[0]}"; exit 2; }
work=$(mktemp -d "${TMPDIR:-/tmp}/gradflow-matrix.XXXXXX")
trap 'rm -rf "$work"' EXIT
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 MPLBACKEND=Agg
unset PYTHONPATH PYTHONHOME VIRTUAL_ENV

lower_bounds() { # "name==lower bound" for every dependency, and for those of the extras that tests need
    python - <<'PY'
import re
import tomllib

with open("pyproject.toml", "rb") as file:
    project = tomllib.load(file)["project"]
extras = project["optional-dependencies"]
wanted = project["dependencies"] + [line for extra in ("plot", "table", "sweep", "cluster", "prove", "test") for line in extras[extra]]
for line in wanted:
    found = re.match(r"([A-Za-z0-9_.-]+)\s*>=\s*([^,;\s]+)", line)
    if found:
        print(f"{found[1]}=={found[2]}")
PY
}

one() { # one NAME PYTHON: build, install, test
    local name=$1 python=$2
    "$python" -m venv "$work/$name"
    local pip="$work/$name/bin/python -m pip"
    $pip install --quiet build
    rm -rf "$work/dist"
    "$work/$name/bin/python" -m build --quiet --wheel --outdir "$work/dist" "$checkout"
    local wheel=("$work"/dist/*.whl)
    if [ "$name" = lowest ]; then
        PATH="$work/$name/bin:$PATH" lower_bounds >"$work/bounds.txt"
        # Packages of others that have moved on are held back by hand where a lower bound needs it.
        $pip install --quiet --constraint "$work/bounds.txt" "${wheel[0]}[test]"
        $pip list | grep -iE '^(numpy|scipy|numba|jax|jaxlib|diffrax|optimistix|equinox|lineax|h5py) '
    else
        $pip install --quiet "${wheel[0]}[test]"
    fi
    cp -r "$checkout/tests" "$work/tests"
    if [ "${TESTS:-}" = import ]; then
        (cd "$work" && "$work/$name/bin/python" -m gradflow demo --out "$name.h5" --plot "$name.png")
    else
        # The tests read the README, docs and benchmarks beside them; the package is the installed wheel.
        for part in README.md CITATION.cff pyproject.toml docs benchmarks notebooks; do
            cp -r "$checkout/$part" "$work/"
        done
        (cd "$work" && "$work/$name/bin/python" -P -m pytest -q ${TESTS:-tests})
    fi
    rm -rf "$work/tests"
}

failed=()
for cell in "$@"; do
    case $cell in
        lowest) name=lowest python=python3 ;;
        lowest:*) name=lowest python=python${cell#lowest:} ;;
        *) name=$cell python=python$cell ;;
    esac
    printf '\n──── %s (%s)\n' "$cell" "$python"
    command -v "$python" >/dev/null || { echo "no $python"; failed+=("$cell"); continue; }
    if one "$name" "$python"; then echo "──── $cell: passed"; else echo "──── $cell: FAILED"; failed+=("$cell"); fi
done
[ ${#failed[@]} -eq 0 ] || { printf 'failed: %s\n' "${failed[@]}"; exit 1; }
