"""The same bits on one thread and on two: derivatives, spectra, short runs."""

import json
import os
import subprocess
import sys

SCRIPT = """
import hashlib, json
import numpy as np
import gradflow as gf

def digest(*arrays):
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()

found = {}
for sizes, count in (((2, 8, 1), 10_000), ((2, 100, 1), 2_000), ((4, 100, 1), 2_000)):
    X = np.random.default_rng(0).standard_normal((count, sizes[0]))
    teacher = gf.teachers.random((sizes[0], 4, 1), "softplus", seed=1)
    problem = gf.Problem(teacher, gf.MLP.random(sizes, "softplus", seed=0), X)
    theta = problem.theta0
    result = gf.train(
        problem,
        solver=gf.solvers.Kvaerno5(max_steps=6),
        refiner=gf.refiners.TrustRegionNewton(max_iterations=2),
        progress=False,
    )
    found[problem.size] = {
        "gradient": digest(problem.gradient(theta)),
        "Hessian": digest(problem.hessian(theta)),
        "product": digest(problem.hvp(theta, np.cos(theta))),
        "spectrum": digest(result.spectrum().eigenvalues),
        "run": digest(result.theta, result.flow.step_theta, result.flow.step_times),
    }
print(json.dumps(found))
"""


def hashes(threads: int) -> dict:
    numbers = {
        name: str(threads) for name in ("GRADFLOW_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    }
    finished = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=os.environ | numbers, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)


def test_one_and_two_threads_agree_bit_by_bit():
    one, two = hashes(1), hashes(2)
    assert sorted(one) == ["33", "401", "601"]
    assert one == two
