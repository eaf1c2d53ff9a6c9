"""The pictures of labs: what they show (`Curves`, `Bars`, `Ladder`), in a terminal and as PNG.

The terminal's are drawn by plotext, the PNGs by matplotlib; both are loaded when asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from labs.labwire import Seen

Points = Sequence[Sequence[float]]
"""(x, y) pairs."""

COLORS = ("#1b6ca8", "#c8501e", "#3b8132", "#7b4b94", "#8c6d1f")
WIDTH, HEIGHT = 7.2, 3.6  # inches
TERMINAL = 90, 18  # columns, lines
DPI = 110
STEPS = "steps-post"


@dataclass(frozen=True)
class Curves:
    """Lines over a common axis.  `levels`: horizontal lines with a name; `steps`: values hold
    until the next; `marks`: points, not lines."""

    title: str
    x: str
    y: str
    lines: Mapping[str, Points]
    levels: Mapping[str, float] = field(default_factory=dict)
    steps: bool = False
    marks: bool = False


@dataclass(frozen=True)
class Bars:
    """A group of bars a label, a colour a series: `series[name][n]` belongs to `labels[n]`.

    `log`: of the picture; the terminal's bars are linear.
    """

    title: str
    y: str
    labels: Sequence[str]
    series: Mapping[str, Sequence[float]]
    levels: Mapping[str, float] = field(default_factory=dict)
    log: bool = False


@dataclass(frozen=True)
class Ladder:
    """Who sent what when.  A rung is (to the right?, text, lost?, the time); a heading has None
    for its direction."""

    title: str
    left: str
    right: str
    rungs: Sequence[Sequence[Any]]


Chart = Curves | Bars | Ladder


def rungs(segments: Sequence[Seen], client_left: bool = True) -> list[list[Any]]:
    """TCP segments as rungs, sequence numbers relative to each side's first, times to the first."""
    first: dict[tuple[bytes, int], int] = {}
    found = []
    for seen in segments:
        tcp, ip = seen.packet.tcp, seen.packet.ip
        assert tcp is not None
        me, you = (ip.src, tcp.sport), (ip.dst, tcp.dport)
        seq = (tcp.seq - first.setdefault(me, tcp.seq)) & 0xFFFFFFFF
        length = len(seen.packet.payload)
        letters = [name for bit, name in enumerate("FSRP") if tcp.flags >> bit & 1]
        words = [name for name, letter in NAMES if letter in letters]
        text = f"{'+'.join(words) or 'ACK'}"
        if length:
            text = f"{seq}:{seq + length} ({length} bytes)" + (" FIN" if "F" in letters else "")
        elif "S" not in letters:
            text += f" {seq}" if words else ""
        if tcp.flags & 0x10 and not length:
            ack = (tcp.ack - first.get(you, tcp.ack)) & 0xFFFFFFFF
            text += f" {ack}" if text == "ACK" else f", ACK {ack}"
        elapsed = (seen.when - segments[0].when) / 1e9
        found.append([seen.to_server == client_left, text, seen.lost, _time(elapsed)])
    return found


NAMES = (("SYN", "S"), ("FIN", "F"), ("RST", "R"))


def _time(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:,.1f} s"
    return f"{seconds * 1e3:.1f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.1f} µs"


# -- in a terminal ---------------------------------------------------------------------------


def in_terminal(chart: Chart) -> str:
    """Plain text; empty for a ladder, which the packets themselves tell."""
    if isinstance(chart, Ladder):
        return ""
    import plotext

    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plotsize(*TERMINAL)
    plotext.title(chart.title)
    plotext.ylabel(chart.y)
    if isinstance(chart, Curves):
        plotext.xlabel(chart.x)
        for (name, points), marker in zip(chart.lines.items(), "•*+xo", strict=False):
            xs, ys = _columns(points, chart.steps)
            draw = plotext.scatter if chart.marks else plotext.plot
            draw(xs, ys, label=f"{marker} {name}", marker=marker)
    else:
        plotext.multiple_bar(
            list(chart.labels), [list(v) for v in chart.series.values()], labels=list(chart.series)
        )
    for level in chart.levels.values():
        plotext.hline(level)
    return str(plotext.uncolorize(plotext.build()))


def _columns(points: Points, steps: bool) -> tuple[list[float], list[float]]:
    """Two lists; with `steps`, values hold until the next one."""
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    if steps:
        xs = [x for before in zip(xs, xs, strict=True) for x in before][1:]
        ys = [y for before in zip(ys, ys, strict=True) for y in before][:-1]
    return xs, ys


# -- as PNG ----------------------------------------------------------------------------------


def write_png(chart: Chart, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    height = HEIGHT if not isinstance(chart, Ladder) else 1.1 + 0.3 * len(chart.rungs)
    figure, axes = pyplot.subplots(figsize=(WIDTH, height), layout="constrained")
    axes.set_title(chart.title, fontsize=11)
    if isinstance(chart, Ladder):
        _draw_ladder(axes, chart)
    else:
        if isinstance(chart, Curves):
            _draw_curves(axes, chart)
        else:
            _draw_bars(axes, chart)
        _finish(axes, chart)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI, metadata={"Software": None})
    pyplot.close(figure)


def _finish(axes: Axes, chart: Curves | Bars) -> None:
    for name, level in chart.levels.items():
        axes.axhline(level, color="#888888", linestyle=":", linewidth=1)
        axes.text(0.995, level, name, fontsize=8, color="#555555", ha="right", va="bottom",
                  transform=axes.get_yaxis_transform())  # fmt: skip
    axes.set_ylabel(chart.y)
    if isinstance(chart, Bars) and chart.log:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter("{x:,.5g}")
    axes.grid(axis="y", color="#eeeeee")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if len(chart.lines if isinstance(chart, Curves) else chart.series) > 1:
        axes.legend(fontsize=9, frameon=False)


def _draw_curves(axes: Axes, chart: Curves) -> None:
    axes.set_xlabel(chart.x)
    for (name, points), color in zip(chart.lines.items(), COLORS, strict=False):
        xs, ys = _columns(points, False)
        axes.plot(
            xs,
            ys,
            label=name,
            color=color,
            linewidth=1.6,
            linestyle="" if chart.marks else "-",
            marker="o" if chart.marks or (len(xs) <= 12 and not chart.steps) else "",
            markersize=4,
            drawstyle=STEPS if chart.steps else "default",
        )
    axes.xaxis.set_major_formatter("{x:,.5g}")


def _draw_bars(axes: Axes, chart: Bars) -> None:
    width = 0.8 / len(chart.series)
    for index, (name, values) in enumerate(chart.series.items()):
        places = [n + (index - (len(chart.series) - 1) / 2) * width for n in range(len(values))]
        bars = axes.bar(places, values, width * 0.92, label=name, color=COLORS[index])
        texts = [f"{value:,.0f}" if value >= 1000 else f"{value:.4g}" for value in values]
        axes.bar_label(bars, texts, fontsize=8, padding=2)
    axes.set_xticks(range(len(chart.labels)), chart.labels)


def _draw_ladder(axes: Axes, chart: Ladder) -> None:
    count = len(chart.rungs)
    for side, name in ((0.0, chart.left), (1.0, chart.right)):
        axes.plot([side, side], [-0.6, count - 0.2], color="#444444", linewidth=1.4)
        axes.text(side, -0.8, name, ha="center", va="bottom", fontsize=10, fontweight="bold")
    for row, (to_right, text, lost, time) in enumerate(chart.rungs):
        if to_right is None:
            axes.text(0.5, row + 0.2, text, ha="center", va="center", fontweight="bold")
            continue
        start, end = (0.0, 1.0) if to_right else (1.0, 0.0)
        color = "#c8501e" if lost else COLORS[0]
        stop = start + (end - start) * (0.62 if lost else 1.0)
        style = {"arrowstyle": "-|>", "color": color, "linewidth": 1.3}
        axes.annotate("", (stop, row + (0.12 if lost else 0.2)), (start, row), arrowprops=style)
        if lost:
            axes.text(stop, row + 0.12, "✗", color=color, ha="center", va="center", fontsize=14)
        axes.text(0.5, row - 0.03, text, ha="center", va="bottom", fontsize=9, color=color)
        axes.text(-0.04, row, time, ha="right", va="center", fontsize=8, color="#666666")
    axes.set_xlim(-0.28, 1.12)
    axes.set_ylim(count, -1.4)
    axes.axis("off")
