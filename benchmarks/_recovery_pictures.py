"""Pictures of `benchmarks recovery`."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def _figure(size, **axes):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=size, layout="constrained", **axes)


def _save(figure, path: Path) -> None:
    import matplotlib.pyplot as plt

    figure.savefig(path, dpi=110)
    plt.close(figure)


def noise(rows: list[dict], path: Path) -> None:
    """Errors of the weights against the noise in the answers, and how many widths were right."""
    figure, (axis, share) = _figure((5.2, 5.0), nrows=2, sharex=True, height_ratios=[3, 1])
    right = [row for row in rows if row["excess"] == 0]
    axis.loglog([r["level"] for r in right], [r["difference"] for r in right], "o", ms=4, label="error")
    bound = [r for r in right if r["bound"]]
    axis.loglog([r["level"] for r in bound], [r["bound"] for r in bound], "_k", ms=9, label="its bound")
    axis.set(ylabel="largest error of a weight")
    axis.legend()
    levels = sorted({row["level"] for row in rows})
    parts = [[row["excess"] == 0 for row in rows if row["level"] == level] for level in levels]
    share.semilogx(levels, [np.mean(part) for part in parts], "o-", ms=4)
    share.set(xlabel="noise in the answers", ylabel="right width", ylim=(-0.05, 1.05))
    _save(figure, path)


def sensitivity(totals: dict, axes: dict, path: Path) -> None:
    """Excess clusters and the share of the teacher's neurons found, over N, γ and β."""
    words = {
        "count": "students N (γ = 0.5, β = π/6)",
        "gamma": "γ (N = 10, β = π/3)",
        "beta": "β (N = 10, γ = 0.75)",
    }
    figure, shown = _figure((9.6, 3.0), ncols=3)
    for axis, (name, values) in zip(shown, axes.items()):
        found = [totals[f"{name} {value:.3g}"] for value in values]
        (line,) = axis.plot(values, [row["found"] for row in found], "o-", ms=4, color="C0")
        axis.set(xlabel=words[name], ylim=(-0.05, 1.08))
        beside = axis.twinx()
        (other,) = beside.plot(values, [row["mean_excess"] for row in found], "s--", ms=4, color="C3")
        beside.tick_params(axis="y", colors="C3")
        if name == "beta":
            axis.set_xscale("log")
    figure.legend(
        [line, other], ["share of the teacher's neurons found (left)", "clusters in excess (right)"],
        loc="outside lower center", ncols=2, fontsize=9,
    )  # fmt: skip
    _save(figure, path)


def expansion(rows: list[dict], path: Path) -> None:
    """Losses of students and of what clustering made of them, over ρ (figures 4C and 5)."""
    figure, (share, losses) = _figure((8.0, 3.4), ncols=2)
    rhos = sorted({row["expansion"] for row in rows})
    for d in sorted({row["input_dim"] for row in rows}):
        for r in sorted({row["width"] for row in rows}):
            part = [row for row in rows if row["input_dim"] == d and row["width"] == r]
            good = [
                np.mean([loss <= 1e-14 for row in part if row["expansion"] == rho for loss in row["losses"]])
                for rho in rhos
            ]
            share.plot(rhos, good, "o-", ms=4, label=f"d = {d}, r = {r}")
    share.set(xlabel="ρ", ylabel="students with a loss below 1e-14", xscale="log", ylim=(-0.05, 1.05))
    share.legend(fontsize=8)
    rng = np.random.default_rng(0)
    for row in rows:
        x = row["expansion"] * np.exp(0.08 * rng.standard_normal(len(row["losses"])))
        losses.loglog(x, np.maximum(np.sqrt(row["losses"]), 1e-17), ".", color="0.7", ms=3)
    for row in rows:
        colour = "C0" if row["excess"] == 0 else "C3"
        x = row["expansion"] * np.exp(0.08 * rng.standard_normal())
        losses.loglog([x], [max(row["rmse"], 1e-17)], "*", color=colour, ms=9)
    losses.set(xlabel="ρ", ylabel="RMSE", title="grey: students; stars: clustered\n(blue: right width)")
    losses.title.set_fontsize(9)
    for axis in (share, losses):
        axis.set_xticks(rhos, [str(rho) for rho in rhos])
        axis.minorticks_off()
    _save(figure, path)


def pruning(rows: list[dict], width: int, path: Path) -> None:
    """RMSE against neurons in excess (figures 6B and A.7)."""
    figure, axis = _figure((5.6, 3.8))
    styles = {"recover": "C0*", "magnitude": "C2o-", "lottery ticket": "C4s-"}
    for row in rows:
        style = styles.get(row["method"], "C3^")
        axis.semilogy(
            np.array(row["neurons"]) - width, row["rmse"], style, label=row["method"],
            ms=14 if "*" in style else 5, lw=0.8,
        )  # fmt: skip
    axis.axvline(0.0, color="0.7", lw=0.8)
    axis.set(xlabel="neurons in excess", ylabel="RMSE of the logits")
    axis.legend(fontsize=8)
    _save(figure, path)
