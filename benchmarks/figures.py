"""The figures of a benchmark: a ratio or a size each, with its spread and its target."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

Say = Callable[[str], None]
"""Shows progress to the person who waits."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number. A ratio has no unit: it compares two things measured side by side."""

    name: str
    value: float
    low: float
    high: float
    unit: str = ""
    at_most: float | None = None
    at_least: float | None = None

    @property
    def is_met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        if self.at_most is not None:
            return self.value <= self.at_most
        return None if self.at_least is None else self.value >= self.at_least

    @property
    def target(self) -> str:
        """The target in words."""
        if self.at_most is not None:
            return f"at most {self.at_most:g}"
        return "" if self.at_least is None else f"at least {self.at_least:g}"

    def as_json(self) -> dict[str, Any]:
        """Return the figure as ``--json`` prints it."""
        return {
            "name": self.name,
            "value": float(f"{self.value:.4g}"),
            "low": float(f"{self.low:.4g}"),
            "high": float(f"{self.high:.4g}"),
            "unit": self.unit or "ratio",
            "target": self.target or None,
            "met": self.is_met,
        }


def figure(
    name: str,
    values: Sequence[float],
    *,
    unit: str = "",
    at_most: float | None = None,
    at_least: float | None = None,
) -> Figure:
    """Return the median of ``values``, with the least and the greatest as spread."""
    return Figure(name, median(values), min(values), max(values), unit, at_most, at_least)


def ratio(
    name: str,
    pairs: Sequence[tuple[float, float]],
    *,
    at_most: float | None = None,
    at_least: float | None = None,
) -> Figure:
    """Return ours ÷ reference; each pair was measured one right after the other."""
    quotients = [ours / reference for ours, reference in pairs]
    return figure(name, quotients, at_most=at_most, at_least=at_least)
