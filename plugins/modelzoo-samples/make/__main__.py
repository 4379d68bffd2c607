"""Make a sample: fetch its data, train it, export it, measure it, and write its card.

    python plugins/modelzoo-samples/make NAME [--keep DIR]

NAME is a module of this folder: sentiment, emoji, captions, poems, bible. Each says what it needs.
With --keep, a model that was trained there before is only exported again; captions takes its image
tower from the model of emoji.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).resolve().parent
NAMES = sorted(path.stem for path in HERE.glob("[a-z]*.py") if path.stem != "card")
sys.path.insert(0, str(HERE.parents[2]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", metavar="NAME", choices=NAMES, help=", ".join(NAMES))
    parser.add_argument("--keep", type=Path, help="a folder for the data and the model")
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from card import make

    folder = (options.keep or Path(tempfile.mkdtemp())).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    make(options.name, import_module(options.name), folder)


if __name__ == "__main__":
    main()
