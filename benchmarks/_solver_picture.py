"""The work–precision diagrams as a picture."""

from __future__ import annotations

from pathlib import Path

STYLES = ["o", "s", "D", "^", "v", "P", "X", "*", "<", ">", "h", "p"]

COLOURS = ["#1f4e9e", "#e07b00", "#2a9d57", "#b3202c", "#7b4fb0", "#8a5a3b", "#d6649f", "#00a0a8", "#9aa300",
           "#5fb0e6", "#f2a98c", "#6b7f2a"]  # fmt: skip


def draw(results: dict, path: Path) -> Path:
    """One panel per problem: seconds against achieved error, peers in grey and dashed, the default thick."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = list(dict.fromkeys(row["solver"] for found in results.values() for row in found["rows"]))
    own = [name for name in names if not _is_peer(name)]
    colours = dict(zip(own, COLOURS))
    greys = dict(zip((n for n in names if _is_peer(n)), ("0.1", "0.3", "0.45", "0.6", "0.75")))
    figure, axes = plt.subplots(1, len(results), figsize=(4.6 * len(results), 4.4), squeeze=False)
    for axis, (title, found) in zip(axes[0], results.items()):
        for index, name in enumerate(names):
            rows = [r for r in found["rows"] if r["solver"] == name and r["error"] and r["resolved"]]
            default = name == found["default"]
            axis.loglog(
                [r["error"] for r in rows],
                [r["seconds"] for r in rows],
                marker=STYLES[index % len(STYLES)],
                markersize=4.5,
                linewidth=2.4 if default else 1.2,
                linestyle="--" if _is_peer(name) else "-",
                color=greys.get(name) or colours[name],
                label=name,
                zorder=3 if default else 2,
            )
        axis.invert_xaxis()
        axis.set_title(f"{title}\nt = {found['t']:g}, default {found['default']}", fontsize=9)
        axis.set_xlabel("error at t")
        axis.grid(True, which="major", linewidth=0.4, alpha=0.6)
    axes[0][0].set_ylabel("seconds, one thread")
    handles, labels = axes[0][0].get_legend_handles_labels()
    columns = 3 * len(results)
    figure.legend(handles, labels, loc="lower center", ncol=columns, fontsize=8, frameon=False)
    rows_of_legend = -(-len(names) // columns)
    figure.tight_layout(rect=(0, 0.03 + 0.045 * rows_of_legend, 1, 1))
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)
    return path


def _is_peer(name: str) -> bool:
    return name.startswith("SciPy") or name in ("odeint", "CVODE")
