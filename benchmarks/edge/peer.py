"""Peers of the edge benchmark: child processes that are measured in turn.

Standard library and numpy alone: the environments of other libraries import it too.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.common import environment


class Peer:
    """A child process that is loaded once and then makes one measured round whenever asked.

    Args:
        name: how the tables call it.
        script: a module of `benchmarks.edge.children` that ends in `serve(...)`.
        arguments: what the script is to measure, handed over as JSON.
        python: another environment's interpreter.

    Raises:
        SystemExit: the child ended early, with the end of what it said.
    """

    def __init__(self, name: str, script: str, arguments: dict, python: str = sys.executable):
        self.name = name
        self._child = subprocess.Popen(
            [python, "-m", f"benchmarks.edge.children.{script}", json.dumps(arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        self._said: list[str] = []
        # Native code is talkative: an unread pipe would fill up and stop it.
        threading.Thread(target=lambda: self._said.extend(self._child.stderr), daemon=True).start()
        self.ready = self._read()

    def ask(self, what: str = "round") -> dict:
        """One round's figures; `what="end"` for those after the last one, and the child is gone."""
        self._child.stdin.write(what + "\n")
        self._child.stdin.flush()
        answer = self._read()
        if what == "end":
            self._child.wait()
        return answer

    def close(self) -> None:
        self._child.kill()
        self._child.wait()

    def _read(self) -> dict:
        for line in self._child.stdout:
            if line.startswith("{"):
                return json.loads(line)
        self._child.wait()
        time.sleep(0.1)
        raise SystemExit(f"{self.name} failed:\n{''.join(self._said)[-3000:]}")


def serve(ready: dict, measure: Callable[[], dict], end: Callable[[], dict] = lambda: {}) -> None:
    """The child's side of a `Peer`: answers until it is asked to end."""
    print("\n" + json.dumps(ready), flush=True)
    for line in sys.stdin:
        last = line.strip() == "end"
        print("\n" + json.dumps({**end(), **memory()} if last else measure()), flush=True)
        if last:
            break
    sys.stdout.flush()
    os._exit(0)  # native libraries have nothing to tell us when they end


def alternate(peers: Sequence[Peer], rounds: int, pause: float = 0.05) -> dict[str, dict]:
    """Rounds in turn (a, b, a, b, …), so that a slow minute of the machine is everybody's.

    Returns:
        Peer -> figure -> {"median", "best", "all"}, with what it said when ready and at the end.
        The best of a time is the least; of a speed (`…_s`, "a second"), the most.
    """
    try:
        for peer in peers:
            peer.ask()  # packs weights, fills caches: not counted
        answers: dict[str, list[dict]] = {peer.name: [] for peer in peers}
        for _ in range(rounds):
            for peer in peers:
                time.sleep(pause)  # the other's threads stop spinning
                answers[peer.name].append(peer.ask())
        return {
            peer.name: {**peer.ready, **summaries(answers[peer.name]), **peer.ask("end")}
            for peer in peers
        }
    finally:
        for peer in peers:
            peer.close()


def summaries(rounds: Sequence[Mapping]) -> dict[str, dict]:
    """
    >>> summaries([{"decode_tokens_s": 1.0}, {"decode_tokens_s": 3.0}])["decode_tokens_s"]["best"]
    3.0
    """
    found = {}
    for key, first in rounds[0].items():
        if isinstance(first, (int, float)):
            values = [one[key] for one in rounds]
            best = max if key.endswith(("tokens_s", "GB_s")) else min
            found[key] = {"median": statistics.median(values), "best": best(values), "all": values}
        else:
            found[key] = rounds[-1][key]
    return found


def memory() -> dict[str, float]:
    """MB of this process that are resident: all, those that a file backs, and the most ever."""
    lines = Path("/proc/self/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    names = {"rss_MB": "VmRSS", "file_MB": "RssFile", "peak_MB": "VmHWM"}
    return {key: int(fields[name].split()[0]) * 1024 / 1e6 for key, name in names.items()}


def nats_a_token(windows: Sequence[Sequence[int]], logits: Callable) -> float:
    """Mean negative log-likelihood of every token but each window's first.

    Args:
        logits: window -> one vector of logits after each of its tokens.
    """
    import numpy as np

    total = count = 0
    for window in windows:
        for vector, token in zip(logits(window), window[1:], strict=False):
            numbers = vector.astype(np.float64)
            largest = numbers.max()
            total += largest + np.log(np.exp(numbers - largest).sum()) - numbers[token]
            count += 1
    return float(total / count)
