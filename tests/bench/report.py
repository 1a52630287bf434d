"""Figures: measured in pairs, compared within the run, printed beside their targets. Nothing here asserts."""
import statistics
import sys
import time

BEGAN = time.monotonic()


def say(text):
    """Progress, to stderr."""
    print(f"{time.monotonic() - BEGAN:6.0f} s  {text}", file=sys.stderr, flush=True)


class Target:
    """What a figure should reach: of the ratio to the baseline, or of boxrelay's own value."""

    def __init__(self, of, sign, bound, unit=""):
        self.of, self.sign, self.bound, self.unit = of, sign, bound, unit

    def met(self, found):
        """Is it? Judged on the median; the largest of several memory sizes."""
        value = found["ratio"] if self.of == "ratio" else found["value"]
        return value >= self.bound if self.sign == ">=" else value <= self.bound

    def __str__(self):
        return f"{self.sign} {self.bound:g}{'x' if self.of == 'ratio' else ''}{' ' + self.unit if self.unit else ''}"


def ratio_at_least(bound):
    """Of the baseline's."""
    return Target("ratio", ">=", bound)


def ratio_at_most(bound):
    """Of the baseline's."""
    return Target("ratio", "<=", bound)


def at_most(bound, unit=""):
    """Of the figure itself."""
    return Target("value", "<=", bound, unit)


class Report:
    """All figures of a run, in order."""

    def __init__(self):
        self.figures, self.scenarios = [], []

    def begin(self, name, measured, baseline):
        """The figures that follow belong to this scenario: what is measured, and against what."""
        self.scenarios.append({"name": name, "measured": measured, "baseline": baseline})
        say(f"{name}: {measured}")

    def add(self, name, unit, values, baselines=None, target=None):
        """A figure: boxrelay's values and, measured in turn with them, the baseline's."""
        found = {"scenario": self.scenarios[-1]["name"], "figure": name, "unit": unit, "values": tidy(values),
                 "value": max(values) if unit == "MB" else statistics.median(values)}
        if baselines:
            ratios = [v / b if b else float("inf") for v, b in zip(values, baselines)]
            found.update(baselines=tidy(baselines), baseline=statistics.median(baselines),
                         ratio=statistics.median(ratios), ratio_min=min(ratios), ratio_max=max(ratios))
        if target:
            found.update(target=str(target), met=target.met(found))
        found = {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in found.items()}
        self.figures.append(found)
        say("  " + "  ".join(cell.strip() for cell in row(found) if cell.strip()))

    def table(self):
        """Lines for people."""
        lines = []
        for scenario in self.scenarios:
            rows = [HEAD, *(row(found) for found in self.figures if found["scenario"] == scenario["name"])]
            width = max(len(cells[0]) for cells in rows)
            lines += ["", f"{scenario['name']}: {scenario['measured']}", f"  baseline: {scenario['baseline']}"]
            lines += [line(cells, width) for cells in rows]
        return "\n".join(lines)


def tidy(values):
    """Four digits: the rest is noise."""
    return [float(f"{value:.4g}") for value in values]


HEAD = ("figure", "baseline", "boxrelay", "ratio", "(min to max)", "target", "met")


def number(value):
    """Three digits, more only before the point."""
    if value == float("inf"):
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def row(found):
    """A figure's cells."""
    ratio = "ratio" in found
    spread = f"({number(found['ratio_min'])} to {number(found['ratio_max'])})" if ratio else \
        f"({number(min(found['values']))} to {number(max(found['values']))})" if len(found["values"]) > 1 else ""
    return (f"{found['figure']}, {found['unit']}", number(found["baseline"]) if ratio else "", number(found["value"]),
            number(found["ratio"]) if ratio else "", spread, found.get("target", ""),
            {True: "yes", False: "NO", None: ""}[found.get("met")])


def line(cells, width):
    """Cells side by side."""
    name, *numbers, spread, target, met = cells
    return f"  {name:{width}} " + " ".join(f"{n:>9}" for n in numbers) + f" {spread:>18}  {target:10} {met}".rstrip()
