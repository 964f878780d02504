"""Draws the picture of a soak: memory, latency and backlog over time."""

from collections.abc import Sequence
from math import nan
from pathlib import Path

from matplotlib.figure import Figure

from tests.soak.far_side import APPLICATION_DOWN, ASSURE_DOWN, ASSURE_SLOW
from tests.soak.growth import Sample

_FAULTS = (
    (ASSURE_DOWN, "tab:red", "Assure down"),
    (APPLICATION_DOWN, "tab:orange", "application down"),
    (ASSURE_SLOW, "tab:purple", "Assure slow"),
)
_SERIES = (
    ("resident memory, MB", "linear", (("memory", "tab:blue"),)),
    ("milliseconds until the durable 200", "log", (("p50", "tab:blue"), ("p99", "tab:cyan"))),
    (
        "waiting",
        "symlog",
        (("unapplied", "tab:blue"), ("overdue", "tab:green"), ("pending", "tab:brown")),
    ),
)


def draw(
    path: Path,
    samples: Sequence[Sample],
    restarts: Sequence[tuple[float, str]],
    *,
    title: str,
    seconds: float,
    cycle: float,
) -> None:
    """Write a PNG. Faults are shaded, restarts are lines, and the judged half has a grey bar."""
    figure = Figure(figsize=(14, 10), layout="constrained")
    figure.suptitle(title)
    for place, (name, scale, lines) in enumerate(_SERIES):
        axes = figure.add_subplot(len(_SERIES), 1, place + 1)
        axes.set_title(name, loc="left", fontsize="medium")
        axes.set_yscale(scale)
        axes.set_xlim(0, max(seconds, samples[-1].at if samples else 0) / 60)
        for field, color in lines:
            known = [getattr(each, field) for each in samples]
            values = [nan if value is None else value for value in known]
            at = [each.at / 60 for each in samples]
            axes.plot(at, values, ".-", color=color, label=field, markersize=2)
        if scale != "log":
            axes.set_ylim(bottom=0)
        for (begin, end), color, fault in _FAULTS:
            for number in range(round(seconds / cycle)):
                span = ((number + begin) * cycle / 60, (number + end) * cycle / 60)
                label = None if place or number else fault
                axes.axvspan(*span, color=color, alpha=0.15, linewidth=0, label=label)
        for begun, signal in restarts:
            style = "--" if signal == "SIGKILL" else ":"
            axes.axvline(begun / 60, color="black", linewidth=0.8, linestyle=style)
        axes.axvspan(seconds / 120, seconds / 60, ymax=0.02, color="grey", linewidth=0)
        axes.legend(loc="upper left", ncols=5, fontsize="small")
    axes.set_xlabel("minutes; dashed: SIGKILL, dotted: SIGTERM, grey bar: judged for growth")
    figure.savefig(path)
