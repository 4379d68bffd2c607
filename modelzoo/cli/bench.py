"""modelzoo bench: how fast a bundle is on this machine, and how much memory it takes."""

from __future__ import annotations

import argparse

from modelzoo.about import install_command
from modelzoo.cli.common import add_trust, examples, fitted, print_json, table
from modelzoo.cli.elapsed import Steps

# Columns of the table, where a run has them: key of the report -> title
_COLUMNS = {
    "threads": "threads",
    "load_s": "load_s",
    "first_token_ms": "first_ms",
    "prefill_tokens_s": "prefill/s",
    "decode_tokens_s": "decode/s",
    "limit_tokens_s": "limit/s",
    "share": "share",
    "resident_mb": "mb",
    "peak_mb": "peak_mb",
}


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "bench",
        description="Measure a bundle: load time, size, memory, tokens a second compared with what "
        "this machine's memory bandwidth allows, and latency. Each number of threads is measured "
        "in a process of its own.",
        epilog=examples(
            "modelzoo bench gpt.bundle",
            "modelzoo bench gpt.bundle --threads 4 --prompt-tokens 256 --new-tokens 64",
            "modelzoo bench gpt.bundle --chart gpt.png",
            "modelzoo bench sentiment.bundle --json",
        ),
    )
    parser.add_argument("bundle", metavar="BUNDLE", help="what `modelzoo export` wrote")
    parser.add_argument(
        "--threads", type=int, metavar="N", help="measure 1 to N threads (the cores, 4 at most)"
    )
    parser.add_argument(
        "--prompt-tokens",
        type=int,
        default=128,
        metavar="N",
        help="tokens of the prompt (default: 128)",
    )
    parser.add_argument(
        "--new-tokens", type=int, default=32, metavar="N", help="tokens to generate (default: 32)"
    )
    parser.add_argument(
        "--chart",
        metavar="FILE.png",
        help="draw a chart too, over an older one; needs " + install_command("chart"),
    )
    add_trust(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def run(args: argparse.Namespace) -> int:
    from modelzoo.bench import bench, check_chart, draw

    if args.chart is not None:
        check_chart(args.chart)
    with Steps() as step:
        report = bench(
            args.bundle, args.threads, args.prompt_tokens, args.new_tokens, args.trust, step
        )
    if args.json:
        print_json(report)
    else:
        print(as_text(report))
    if args.chart is not None:
        draw(report, args.chart)
    return 0


def as_text(report: dict) -> str:
    """A line of sizes, a table of runs, one of latencies, and what the limit is."""
    runs = report["runs"]
    head = (
        f"{report['name']} ({report['format']}, {report['precision'] or 'unknown precision'}): "
        f"model {report['model_bytes'] / 1e6:,.1f} MB, "
        f"bundle {report['bundle_bytes'] / 1e6:,.1f} MB"
    )
    keys = [key for key in _COLUMNS if key in runs[0]]
    titles = [_COLUMNS[key] for key in keys]
    rows = [[_shown(key, run[key]) for key in keys] for run in runs]
    parts = [
        fitted(head),
        *map(fitted, _load(report["machine"])),
        *map(fitted, _weights(report)),
        "",
        table(titles, rows, right=",".join(titles)),
    ]
    parts += _drafts(runs)
    measures = ("p50_ms", "p95_ms", "items_s")
    latencies = [
        (run["threads"], name, value["batch_size"], *(_shown(key, value[key]) for key in measures))
        for run in runs
        for name, value in run["signatures"].items()
    ]
    if latencies:
        header = ("threads", "signature", "batch", *measures)
        parts += ["", table(header, latencies, right=",".join({*header} - {"signature"}))]
    if "share" in runs[0]:
        parts += ["", *map(fitted, _limits(report))]
    return "\n".join(parts)


def _drafts(runs: list[dict]) -> list[str]:
    """A table of plain against drafted decoding, where the bundle checks drafts."""
    measures = ("plain_tokens_s", "drafted_tokens_s", "tokens_a_pass")
    rows = [
        (
            run["threads"],
            name,
            *(_shown(key, value[key]) for key in measures),
            "yes" if value["same"] else "no",
        )
        for run in runs
        for name, value in run.get("drafts", {}).items()
    ]
    header = ("threads", "text", "plain/s", "drafted/s", "tokens/pass", "same")
    return ["", table(header, rows, right=",".join({*header} - {"text", "same"}))] if rows else []


def _load(machine: dict) -> list[str]:
    """A line where other programs were busy: the figures are too low then."""
    load, cores = machine.get("load_average"), machine["cores"]
    if load is None or load < cores / 4:
        return []
    return [
        f"load average {load:.1f} on {cores} cores before the measurement: other programs are "
        "running, and the figures are lower than on a quiet machine"
    ]


def _weights(report: dict) -> list[str]:
    """A line on the processor, and one on packed weights, runs that are alike together."""
    machine = report["machine"]
    parts = [machine["processor"], *machine.get("features", ())]
    alike: dict[str, list[str]] = {}
    for run in report["runs"]:
        if "pages" in run:
            why = f" ({run['weight_cache_why']})" if run["weight_cache_why"] else ""
            state = f"cache {run['weight_cache']}{why}, {run['pages']} pages"
            alike.setdefault(state, []).append(str(run["threads"]))
    states = [f"{state} (threads: {', '.join(runs)})" for state, runs in alike.items()]
    return [" ".join(parts), *(["packed weights: " + "; ".join(states)] if states else [])]


def _limits(report: dict) -> list[str]:
    """What the column `share` is the share of."""
    run = report["runs"][0]
    speeds = ", ".join(f"{run['bandwidth_gb_s']:.1f}" for run in report["runs"])
    lines = [
        f"prompt {run['prompt_tokens']:,}, new {run['new_tokens']:,} tokens; prefill, decode and "
        "limit are tokens a second. limit: a token reads "
        f"{run['token_bytes'] / 1e6:,.1f} MB of weights and live state, and memory gives {speeds} "
        "GB/s with these threads"
    ]
    cache = report["machine"]["cache_bytes"]
    if run["token_bytes"] < cache:
        lines.append(
            f"that fits this processor's cache of {cache / 1e6:,.0f} MB: the limit does not bind"
        )
    return lines


def _shown(key: str, value) -> str:
    if value is None:
        return "-"
    if key == "share":
        return f"{value:.2f}"
    return f"{value:,.3g}" if isinstance(value, float) and value < 100 else f"{value:,.0f}"
