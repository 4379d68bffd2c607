"""How fast this machine reads memory: a peer of `edge.py`, asked in turn with the others."""

from __future__ import annotations

import json
import sys

from edge_common import read_bandwidth, serve


def main(job: dict) -> None:
    serve({}, lambda: {"read_GB_s": read_bandwidth(job["bytes"], job["threads"])})


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
