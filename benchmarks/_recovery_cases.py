"""What `benchmarks recovery` runs: one teacher each, its recovery, and the comparison made afterwards."""

from __future__ import annotations

import time

import numpy as np

import gradflow as gf

QUERIES = 30_000
NETWORKS = {
    "8-4-2-1": (8, (4, 2), 1),
    "16-8-4-2": (16, (8, 4), 2),
    "8-8-4-2-1": (8, (8, 4, 2), 1),
}
"""Deep teachers: inputs, hidden widths, outputs."""

COUNTS = (2, 3, 5, 8, 10, 15, 20)
GAMMAS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
BETAS = (np.pi / 2.4, np.pi / 3, np.pi / 4, np.pi / 6, np.pi / 18, np.pi / 180)
"""Figures A.7 and A.8: students, shares and angles of the clustering."""


def finite(value: float) -> float | None:
    """For JSON, which has no infinities: None for the error of a neuron that the queries do not determine."""
    return float(value) if np.isfinite(value) else None


def outcome(found, teacher: gf.MLP, X: np.ndarray, seconds: float) -> dict:
    """The row of one recovery of a network of one hidden layer."""
    certificate = found.certificate
    beside = gf.recovery.compare(found.network, teacher, X, certificate)
    return {
        "exact": found.exact,
        "found_width": found.width,
        "excess": beside.excess,
        "rmse": found.rmse,
        "difference": beside.parameters,
        "in_mean": float(beside.inputs.mean()),
        "in_max": float(beside.inputs.max()),
        "out_mean": float(beside.outputs.mean()),
        "out_max": float(beside.outputs.max()),
        "mirrored": int(beside.mirrored.sum()),
        "students": len(found.students),
        "held_out": None if certificate is None else certificate.held_out,
        "estimate": None if certificate is None else finite(certificate.neuron_errors.max(initial=0.0)),
        "cpu": seconds,
    }


def drawn(input_dim: int, width: int, teacher: int, draw: int) -> tuple[gf.MLP, np.ndarray]:
    """A teacher of A.4 and its queries."""
    seed = np.random.SeedSequence([draw, teacher, input_dim, width])
    made = gf.teachers.parity(input_dim, width, seed=seed)
    return made, gf.teachers.uniform_inputs(input_dim, QUERIES, seed=seed.spawn(1)[0])


def parity(input_dim: int, width: int, teacher: int, draw: int) -> dict:
    """One teacher by `recover`, its width unknown."""
    made, X = drawn(input_dim, width, teacher, draw)
    began = time.thread_time()
    found = gf.recovery.recover(X, made(X), activation="g", seed=teacher, progress=False)
    return outcome(found, made, X, time.thread_time() - began)


def baseline(input_dim: int, width: int, teacher: int, draw: int) -> dict:
    """The same teacher by the paper's recipe, told four times the width and A.6.4's numbers of students."""
    made, X = drawn(input_dim, width, teacher, draw)
    began = time.thread_time()
    found = gf.recovery.expand_and_cluster(
        X, made(X), "g", width=width, students=10 if width == 8 else 20, seed=teacher, progress=False
    )
    row = outcome(found, made, X, time.thread_time() - began)
    return row | {"zero_loss": sum(s["loss"] <= 1e-10 for s in found.students)}


def expansion(input_dim: int, width: int, expansion: int, teacher: int) -> dict:
    """Students of ρ times the width: how many reach zero loss, and what clustering makes of them."""
    made, X = drawn(input_dim, width, teacher, 0)
    began = time.thread_time()
    found = gf.recovery.expand_and_cluster(
        X, made(X), "g", width=width, expansion=expansion, students=10, seed=teacher, progress=False
    )
    row = outcome(found, made, X, time.thread_time() - began)
    return row | {"losses": [float(s["loss"]) for s in found.students]}


def sensitivity(input_dim: int, width: int, teacher: int) -> dict:
    """Clusters over N, γ and β, for the same twenty students of four times the width.

    For each setting the number of clusters kept beyond the teacher's width, and of the teacher's neurons
    that are the nearest of some cluster's mean, within 2 %.
    """
    made, X = drawn(input_dim, width, teacher, 0)
    began = time.thread_time()
    found = gf.recovery.expand_and_cluster(
        X, made(X), "g", width=width, students=max(COUNTS), seed=teacher, progress=False
    )
    seconds = time.thread_time() - began
    rows, owner = found.details["rows"], found.details["owner"]
    wanted = np.column_stack([made.weights[0], made.biases[0]])

    def counted(count: int, gamma: float, beta: float) -> list[int]:
        chosen = rows[owner < count]
        clusters = gf.recovery.cluster(chosen, count, gamma, beta)
        means = [chosen[clusters.labels == label].mean(axis=0) for label in clusters.kept]
        apart = np.linalg.norm(np.array(means).reshape(-1, 1, rows.shape[1]) - wanted, axis=2)
        near = apart <= 0.02 * np.linalg.norm(wanted, axis=1)
        return [len(means) - width, int(near.any(axis=0).sum())]

    return {
        "count": [counted(n, 0.5, np.pi / 6) for n in COUNTS],
        "gamma": [counted(10, gamma, np.pi / 3) for gamma in GAMMAS],
        "beta": [counted(10, 0.75, beta) for beta in BETAS],
        "zero_loss": sum(s["loss"] <= 1e-10 for s in found.students),
        "cpu": seconds,
    }


def image_teacher(activation: str, width: int, X: np.ndarray, y: np.ndarray) -> gf.MLP:
    """A classifier of images: cross-entropy with a weight decay of 1e-4, 150 steps of L-BFGS."""
    start = gf.MLP.random((X.shape[1], width, 10), activation, seed=0)
    problem = gf.Problem(y, start, X, loss="cross_entropy", weight_decay=1e-4, threads=1)
    return gf.train(
        problem, solver=None, refiner=gf.refiners.LBFGS(max_iterations=150), progress=False
    ).student


def images() -> tuple[np.ndarray, np.ndarray]:
    """The 1,797 digits of 8×8 pixels that scikit-learn brings, in [0, 1], and their labels."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    return X / 16.0, y


def classifier(activation: str, width: int, X, y, Q, seed: int = 0) -> dict:
    """The row of a classifier trained on X, y, from its ten logits on the queries Q."""
    teacher = image_teacher(activation, width, X, y)
    began = time.thread_time()
    found = gf.recovery.recover(
        Q, teacher(Q), activation, students=24, widest=2 * width, seed=seed, progress=False
    )
    row = outcome(found, teacher, Q, time.thread_time() - began)
    beyond = found.network(X) + (0.0 if found.affine is None else X @ found.affine.T) - teacher(X)
    return row | {
        "ratio": found.width / width,
        "teacher_accuracy": float((teacher(X).argmax(axis=1) == y).mean()),
        "rmse_on_its_images": float(np.sqrt((beyond**2).sum(axis=1).mean())),
        "undetermined": 0 if found.certificate is None else int(found.certificate.undetermined.sum()),
        "affine": found.affine is not None,
    }


def digits(activation: str, width: int) -> dict:
    """One classifier of the 8×8 digits, from its answers to them."""
    X, y = images()
    return classifier(activation, width, X, y, X)


def mnist(activation: str, width: int, data: str) -> dict:
    """One classifier of MNIST, from its answers to the images it was trained on."""
    X, y = gf.datasets.read_images(data)
    return classifier(activation, width, X, y, X)


def photographs(count: int, seed: int = 0) -> np.ndarray:
    """Patches of 8×8 pixels of the two photographs that scikit-learn brings, in [0, 1]."""
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(seed)
    grey = [image.mean(axis=2) / 255.0 for image in load_sample_images().images]
    patches = []
    for _ in range(count):
        image = grey[rng.integers(len(grey))]
        i, j = rng.integers(image.shape[0] - 8), rng.integers(image.shape[1] - 8)
        patches.append(image[i : i + 8, j : j + 8].ravel())
    return np.array(patches)


QUERYING = ("digits", "photographs", "shuffled digits", "uniform noise", "lit or not")


def queries(kind: str, activation: str, width: int) -> dict:
    """A classifier of the 8×8 digits from its answers to other images (table 2), 4,000 of each kind."""
    X, y = images()
    rng = np.random.default_rng(1)
    made = {
        "digits": lambda: X,
        "photographs": lambda: photographs(4000),
        "shuffled digits": lambda: rng.permuted(X[rng.integers(len(X), size=4000)], axis=1),
        "uniform noise": lambda: rng.uniform(0.0, 1.0, (4000, 64)),
        "lit or not": lambda: rng.integers(0, 2, (4000, 64)).astype(float),
    }
    return classifier(activation, width, X, y, made[kind]())


def noisy(level: float, teacher: int) -> dict:
    """A parity teacher (d = 8, r = 4) whose answers have normal noise of this size."""
    made = gf.teachers.parity(8, 4, seed=teacher)
    X = gf.teachers.uniform_inputs(8, 10_000, seed=teacher + 1000)
    noise = level * np.random.default_rng(teacher).standard_normal((len(X), 1))
    began = time.thread_time()
    found = gf.recovery.recover(
        X, made(X) + noise, "g", floor=1.1 * level, students=60, widest=32, progress=False
    )
    row = outcome(found, made, X, time.thread_time() - began)
    certificate = found.certificate
    known = None if certificate is None else certificate.errors[np.isfinite(certificate.errors)]
    return row | {"bound": None if known is None or not known.size else float(known.max())}


def heard(teacher: gf.MLP) -> gf.MLP:
    """The teacher without hidden neurons that the layer above has no weight for, which no answer shows."""
    weights, biases = list(teacher.weights), list(teacher.biases)
    for layer in reversed(range(len(weights) - 1)):
        kept = (weights[layer + 1] != 0.0).any(axis=0)
        weights[layer], biases[layer] = weights[layer][kept], biases[layer][kept]
        weights[layer + 1] = weights[layer + 1][:, kept]
    return gf.MLP(weights, biases, list(teacher.activations))


def deep(sizes: str, teacher: int) -> dict:
    """A teacher of several hidden layers (A.5), its widths unknown, its depth known."""
    input_dim, widths, outputs = NETWORKS[sizes]
    made = gf.teachers.parity(input_dim, widths, seed=teacher, outputs=outputs)
    X = gf.teachers.uniform_inputs(input_dim, QUERIES, seed=teacher + 50)
    began = time.thread_time()
    found = gf.recovery.recover_deep(X, made(X), "g", hidden_layers=len(widths), seed=teacher, progress=False)
    seconds = time.thread_time() - began
    made = heard(made)
    rows, wanted = (np.column_stack([n.weights[0], n.biases[0]]) for n in (found.network, made))
    apart = np.linalg.norm(rows[:, None] - wanted[None], axis=2).min(axis=0).max()
    return {
        "exact": found.exact,
        "right": found.widths == made.sizes[1:-1],
        "heard": list(made.sizes[1:-1]),
        "widths": list(found.widths),
        "rmse": found.rmse,
        "first_layer": float(apart),
        "students": len(found.students),
        "cpu": seconds,
    }
