"""`python -m tests.faults`: see the package's docstring."""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

# Before anything heavy: children are forked, and threads of a parent are not forked with it.
os.environ.update(TOKENIZERS_PARALLELISM="false", TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="")
os.environ.update(KERAS_BACKEND="tensorflow", PYTHONWARNINGS="ignore")

from tests.faults import children, groups, report
from tests.faults.known import known
from tests.faults.report import Journal, as_json, causes_text, table


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", allow_abbrev=False)
    parser.add_argument("--group", action="append", metavar="NAME", help="default: all groups")
    parser.add_argument("--seed", type=int, metavar="N", help="show one case of one group")
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="with --seed: leave its input there"
    )
    parser.add_argument("--cases", type=int, metavar="N", help="of each group")
    parser.add_argument("--quick", action="store_true", help="the cases of the default test run")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="children at once")
    parser.add_argument(
        "--out", type=Path, default=Path("faults.json"), help="default: faults.json"
    )
    parser.add_argument("--restart", action="store_true", help="forget what an earlier run found")
    args = parser.parse_args()
    chosen = groups.named(args.group)
    with tempfile.TemporaryDirectory(prefix="faults-") as scratch:
        if args.seed is not None:
            return show(chosen, args.seed, Path(scratch), args.keep)
        return run(chosen, args, Path(scratch))


def show(chosen: list, seed: int, scratch: Path, keep: Path | None) -> int:
    """One case of each group, with its traceback and what its libraries said."""
    code = 0
    for group in chosen:
        for one in children.run([(group, [seed])], scratch, tell=print):
            print(f"{group.name} {seed}: {one.kind}, {one.seconds:.1f} s, {one.megabytes} MB")
            print(f"  {one.error} {one.what}\n  at {one.place or 'native code'}")
            code = max(code, int(one.broken))
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            print(f"  input: {str(group.input(seed, keep))[:2000]}")
    return code


def run(chosen: list, args: argparse.Namespace, scratch: Path) -> int:
    """All cases that have no outcome yet, and then what is known of all of them."""
    journal = Journal(args.out.with_suffix(".jsonl"), args.restart)
    cases = {one.name: args.cases or (one.quick if args.quick else one.cases) for one in chosen}
    work = [(one, journal.missing(one, cases[one.name])) for one in chosen]
    total = sum(cases.values()) + report.UNDAMAGED * len(cases)
    progress = Progress(total, sum(len(seeds) for _, seeds in work))
    limits = children.Limits() if "self-test" not in cases else groups.self_test.LIMITS
    code = 0
    try:
        for outcome in children.run(
            work, scratch, jobs=args.jobs, limits=limits, idle=progress.show
        ):
            journal.add(outcome)
            progress.add(outcome)
    except KeyboardInterrupt:
        print("\ninterrupted: the same command goes on here", file=sys.stderr)
        code = 130
    outcomes = journal.outcomes
    progress.end()
    print(table(outcomes, chosen))
    print(f"\n{report.counted(outcomes, chosen)}\n".lstrip())
    print(causes_text(outcomes) or "nothing is broken")
    if code:
        return code
    for name in report.unneeded(outcomes) if not (args.group or args.quick or args.cases) else ():
        print(f"known.py lists {name}, and no case needs it")
    args.out.write_text(json.dumps(as_json(outcomes, chosen), indent=1) + "\n", "utf-8")
    journal.path.unlink(missing_ok=True)
    used = resource.getrusage(resource.RUSAGE_CHILDREN), resource.getrusage(resource.RUSAGE_SELF)
    cpu = sum(one.ru_utime + one.ru_stime for one in used)
    print(f"\n{len(outcomes):,} cases, {cpu:,.0f} s of CPU; all of it is in {args.out}")
    return int(any(one.broken and not known(one) for one in outcomes))


class Progress:
    """A line on standard error: on a terminal always the same one, else one each ten seconds."""

    def __init__(self, total: int, todo: int):
        self.total, self.todo, self.done, self.broken, self.group = total, todo, 0, 0, ""
        self.start = time.monotonic()
        self.tty = sys.stderr.isatty()
        self.next = 0.0

    def add(self, outcome) -> None:
        self.done += 1
        self.broken += outcome.broken
        self.group = outcome.group
        self.show()

    def show(self) -> None:
        now = time.monotonic() - self.start
        if now < self.next or not self.done:
            return
        self.next = now + (0.2 if self.tty else 10)
        left = now / self.done * (self.todo - self.done)
        line = f"{clock(now)} {self.total - self.todo + self.done:,} of {self.total:,} cases"
        line += f", {self.broken} broken, {self.group}, about {clock(left)} left"
        print(f"\r{line:<78}" if self.tty else line, end="" if self.tty else "\n", file=sys.stderr)
        sys.stderr.flush()

    def end(self) -> None:
        if self.tty:
            print(file=sys.stderr)


def clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


if __name__ == "__main__":
    sys.exit(main())
