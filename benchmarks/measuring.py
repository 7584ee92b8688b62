"""Rounds, medians, ratios and the table they end in.

This machine is never quiet: what runs beside a benchmark slows whichever server is being measured just then. So the
baseline and ours take turns, a ratio is taken within each round, and the median of these ratios is what counts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

Measure = Callable[[], float]
"""Runs something once and says how fast, how slow or how large it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AtLeast:
    bound: float

    def met(self, value: float) -> bool:
        return value >= self.bound

    def __str__(self) -> str:
        return f">= {self.bound:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AtMost:
    bound: float

    def met(self, value: float) -> bool:
        return value <= self.bound

    def __str__(self) -> str:
        return f"<= {self.bound:g}"


Target = AtLeast | AtMost


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of a table."""

    what: str
    baseline: str
    ours: str
    ratio: str
    spread: str
    target: str
    verdict: str


HEAD = Row(
    what="", baseline="baseline", ours="ours", ratio="ratio", spread="min..max", target="target", verdict="verdict"
)


def taking_turns(rounds: int, measures: Mapping[str, Measure], *, warm_up: bool = False) -> dict[str, list[float]]:
    """Run every measure once a round, in turn. A warm-up round is not counted."""
    if warm_up:
        for measure in measures.values():
            measure()
    taken: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            taken[name].append(measure())
    return taken


def compared(what: str, *, ours: Sequence[float], baseline: Sequence[float], unit: str, target: Target) -> Row:
    """A row for two measures of the same rounds."""
    ratios = [mine / other for mine, other in zip(ours, baseline, strict=True)]
    ratio = median(ratios)
    return Row(
        what=what,
        baseline=f"{number(median(baseline))} {unit}",
        ours=f"{number(median(ours))} {unit}",
        ratio=f"{ratio:.2f}",
        spread=f"{min(ratios):.2f}..{max(ratios):.2f}",
        target=str(target),
        verdict=verdict(target.met(ratio)),
    )


def limited(what: str, values: Sequence[float], *, unit: str, target: Target) -> Row:
    """A row for something that has a limit instead of a baseline."""
    return Row(
        what=what,
        baseline="",
        ours=f"{number(median(values))} {unit}",
        ratio="",
        spread=f"{number(min(values))}..{number(max(values))}" if len(values) > 1 else "",
        target=f"{target} {unit}",
        verdict=verdict(target.met(median(values))),
    )


def verdict(met: bool) -> str:
    return "met" if met else "NOT MET"


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    cells = [
        [row.what, row.baseline, row.ours, row.ratio, row.spread, row.target, row.verdict] for row in (HEAD, *rows)
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rule = ["-" * width for width in widths]
    lines = [cells[0], rule, *cells[1:]]
    return "\n".join(f"| {' | '.join(map(str.ljust, line, widths))} |" for line in lines)
