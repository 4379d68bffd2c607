"""A report as a picture: bars by number of threads, the bandwidth limit as a line over each."""

from __future__ import annotations

import io
import os
from pathlib import Path

from modelzoo.errors import OutputError, require

INK, QUIET, RULE = "#1f2933", "#66737f", "#d8dee4"
DECODE, PREFILL, LIMIT = "#2f6db5", "#7fa8d6", "#c2452d"
SHADES = ("#2f6db5", "#7fa8d6", "#1b4478", "#b3cde8")  # a number of threads each

LEAST_ROWS = 7  # of a panel of latencies
LEAST_HEIGHT = 0.12  # of a bar that has its number inside


def check_chart(path: str | os.PathLike) -> Path:
    """Refuse before minutes are spent on measuring what could not be drawn in the end.

    Raises:
        OutputError: not a `.png`, a folder, or in a folder that does not exist.
        MissingDependencyError: matplotlib is not installed.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise OutputError(
            f"a chart is a PNG file; got {path}", next_step=f"--chart {path.with_suffix('.png')}"
        )
    if path.is_dir():
        raise OutputError(f"cannot write the chart: {path} is a folder")
    if not path.parent.is_dir():
        raise OutputError(
            f"cannot write the chart: there is no folder {path.parent}",
            next_step=f"mkdir -p {path.parent}",
        )
    require("matplotlib", "chart")
    return path


def draw(report: dict, path: str | os.PathLike) -> Path:
    """Write the chart of a report of `bench`; a file that is there is replaced.

    A decoder's decode and prefill speed by threads, each on a scale of its own; for all other
    signatures the latency, a bar a number of threads, p50 with a whisker up to p95.

    Raises:
        OutputError, MissingDependencyError: as `check_chart`, and a disk that is full.

    Example:
        >>> from modelzoo.bench import bench
        >>> draw(bench("gpt.bundle", threads=1, new_tokens=4), "gpt.png")
        PosixPath('gpt.png')
    """
    from modelzoo.files import write_atomic

    path = check_chart(path)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    runs = report["runs"]
    panels = []
    if "decode_tokens_s" in runs[0]:
        panels.append((_bound_decode if _bound(report) else _decode, 1.0))
        if "prefill_tokens_s" in runs[0]:
            panels.append((_prefill, 1.0))
    names = list(runs[0]["signatures"])
    if names:
        panels.append((_latency, 1.35 if panels else 1.9))
    rows = len(names) * len(runs)
    height = max(4.0, 2.2 + 0.27 * rows + 0.18 * len(names)) if names else 4.0
    width = 1.2 + max(3.4, 0.85 * len(runs)) * sum(share for _, share in panels)
    figure = Figure(figsize=(width, height), dpi=160, facecolor="white", layout="constrained")
    figure.get_layout_engine().set(w_pad=0.14, h_pad=0.1)
    FigureCanvasAgg(figure)
    axes = figure.subplots(
        1, len(panels), squeeze=False, width_ratios=[share for _, share in panels]
    )[0]
    for axis, (panel, _) in zip(axes, panels, strict=True):
        panel(axis, runs)
    left = 0.14 / width
    figure.suptitle(_title(report), x=left, ha="left", fontsize=12, color=INK, weight="bold")
    figure.supxlabel(_caption(report), x=left, ha="left", fontsize=7.5, color=QUIET)
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return write_atomic(path, picture.getvalue())


def _title(report: dict) -> str:
    parts = [report["name"], report["precision"], f"{report['model_bytes'] / 1e6:,.1f} MB"]
    return " · ".join(part for part in parts if part)


def _caption(report: dict) -> str:
    """Lines short enough for the narrowest picture."""
    run = report["runs"][0]
    peaks = [run["peak_mb"] for run in report["runs"] if run["peak_mb"] is not None]
    facts, lines = [], [report["machine"]["processor"]]
    if "decode_tokens_s" in run:
        facts.append(f"{run['prompt_tokens']} prompt + {run['new_tokens']} new tokens")
    if peaks:
        facts.append(f"peak memory {max(peaks):,.0f} MB")
    if facts:
        lines.append(" · ".join(facts))
    if "decode_tokens_s" in run and _bound(report):
        lines.append("limit: memory bandwidth over the bytes a token reads; share: decode / limit")
    return "\n".join(lines)


def _bound(report: dict) -> bool:
    """Whether memory is the limit at all: the cache does not hold what a token reads."""
    return report["runs"][0]["token_bytes"] >= report["machine"]["cache_bytes"]


def _decode(axis, runs: list[dict]) -> None:
    _speed(axis, runs, "Decode", [run["decode_tokens_s"] for run in runs], DECODE)


def _bound_decode(axis, runs: list[dict]) -> None:
    """Bars of decode speed, and over each its limit as a line, with the share that it reaches."""
    values = [run["decode_tokens_s"] for run in runs]
    limits = [run["limit_tokens_s"] for run in runs]
    _speed(axis, runs, "Decode", values, DECODE, top=max(limits))
    for x, (run, value, limit) in enumerate(zip(runs, values, limits, strict=True)):
        axis.hlines(limit, x - 0.4, x + 0.4, color=LIMIT, linewidth=1.8, zorder=3)
        # Above the bar too, should noise put that over its limit.
        label = f"limit {_number(limit)}\nshare {run['share']:.0%}"
        place = {"textcoords": "offset points", "linespacing": 1.1}
        axis.annotate(label, (x, max(value, limit)), (0, 3), **place, **_text(LIMIT, 8))


def _prefill(axis, runs: list[dict]) -> None:
    _speed(axis, runs, "Prefill", [run["prefill_tokens_s"] for run in runs], PREFILL)


def _speed(axis, runs, title: str, values: list[float], color: str, top: float = 0.0) -> None:
    """Bars of tokens a second by threads, each with its number in it, or above a low one."""
    top = max(top, *values)
    axis.bar(range(len(runs)), values, width=0.62, color=color, zorder=2)
    for x, value in enumerate(values):
        inside = value > top * LEAST_HEIGHT
        shade = "white" if inside and color == DECODE else INK
        look = _text(shade, 10, "top" if inside else "bottom", "bold") | {"zorder": 4}
        offset = (0, -4 if inside else 3)
        axis.annotate(_number(value), (x, value), offset, textcoords="offset points", **look)
    axis.set_xticks(range(len(runs)), [str(run["threads"]) for run in runs])
    axis.set_xlim(-0.7, len(runs) - 0.3)
    axis.set_ylim(0, top * 1.18)
    axis.set_xlabel("threads", fontsize=9, color=QUIET)
    _dress(axis, f"{title}, tokens a second", "y")


def _latency(axis, runs: list[dict]) -> None:
    """A group of bars for each signature: p50, with a whisker up to p95."""
    names = list(runs[0]["signatures"])
    ends, ticks, at = [], [], 0.0
    for name in names:
        ticks.append(at + (len(runs) - 1) / 2)
        for index, run in enumerate(runs):
            values = run["signatures"][name]
            p50, p95 = values["p50_ms"], values["p95_ms"]
            axis.barh(at, p50, height=0.8, color=SHADES[index % len(SHADES)], zorder=2)
            axis.plot([p50, p95], [at, at], color=INK, linewidth=1.2, zorder=3)
            axis.plot([p95, p95], [at - 0.22, at + 0.22], color=INK, linewidth=1.2, zorder=3)
            threads = f"{run['threads']} thread{'s' if run['threads'] > 1 else ''}"
            label = f"{_number(p50)} / {_number(p95)} ms · {threads}"
            look = _text(INK, 8, "center") | {"ha": "left"}
            axis.annotate(label, (p95, at), (5, 0), textcoords="offset points", **look)
            ends.append(p95)
            at += 1
        at += 0.6
    axis.set_yticks(ticks, names)
    spare = max(0.0, LEAST_ROWS - at) / 2  # a lone bar is not as thick as the picture
    axis.set_ylim(at - 1.0 + spare, -0.6 - spare)  # the first signature on top
    axis.set_xlim(0, max(ends) * 1.75)  # room for the labels
    axis.set_xlabel("p50 / p95, milliseconds a call", fontsize=9, color=QUIET)
    _dress(axis, "Latency", "x")


def _dress(axis, title: str, grid: str) -> None:
    """Title, a quiet grid across the bars, and nothing else."""
    from matplotlib.ticker import MaxNLocator

    axis.set_title(title, loc="left", fontsize=10, color=INK, pad=8)
    for side in ("top", "right", "left" if grid == "y" else "bottom"):
        axis.spines[side].set_visible(False)
    for spine in axis.spines.values():
        spine.set_color(RULE)
    scale = axis.yaxis if grid == "y" else axis.xaxis
    scale.set_major_locator(MaxNLocator(5))
    scale.set_major_formatter("{x:,g}")
    axis.tick_params(length=0, colors=QUIET, labelsize=9)
    axis.grid(axis=grid, color=RULE, linewidth=0.6, zorder=0)
    axis.set_axisbelow(True)


def _text(color: str, size: float, va: str = "bottom", weight: str = "normal") -> dict:
    return {"ha": "center", "va": va, "color": color, "fontsize": size, "weight": weight}


def _number(value: float) -> str:
    """
    >>> _number(1234.5), _number(56.78), _number(0.1234)
    ('1,234', '56.8', '0.123')
    """
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
