"""How fast this machine reads memory: a peer, measured in turn with the others."""

from __future__ import annotations

import json
import sys

from benchmarks.edge.peer import serve
from modelzoo.bench.bandwidth import read_bandwidth


def main(job: dict) -> None:
    """What a decoder reads for a token is as large, so both keep as much in the last cache."""
    size = max(job["bytes"], 4 << 20)
    read = lambda: read_bandwidth(job["threads"], 0, size, job["huge"])  # noqa: E731
    serve({}, lambda: {"read_GB_s": read() / 1e9})


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
