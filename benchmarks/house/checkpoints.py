"""Checkpoints of every model type and tokenizer class, compared with transformers.

    python -m benchmarks.house.checkpoints

Runs the tests of parity (seeded random models of transformers, read here) and lists the largest
difference of any output by model type. It encodes forty texts with each tokenizer class, alone, in
pairs and in a chat, read from files and written again, and counts those whose ids are equal. Then
it asks for each other model type of transformers what modelzoo says of its default configuration.
"""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections import defaultdict
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks import common
from benchmarks.common import ROOT, write_result

PARITY = (
    "audio_checkpoints",
    "checkpoints",
    "decoder_checkpoints",
    "encoder_checkpoints",
    "media_types",
    "more_decoders",
    "smolvlm",
    "vision",
)


def model_types() -> list[dict]:
    """A row for each model type that has a table.

    Raises:
        SystemExit: a test fails, or a table has none.
    """
    import pytest

    from modelzoo.weights.tables import TABLES
    from tests.real.noted import LARGEST

    files = [str(ROOT / "tests" / "real" / f"test_{name}.py") for name in PARITY]
    if code := pytest.main(["-q", "-m", "real", "-p", "no:cacheprovider", *files]):
        raise SystemExit(int(code))
    if missing := sorted(set(TABLES) - set(LARGEST)):
        raise SystemExit(f"no test compares {', '.join(missing)}")
    return [
        {
            "model type": kind,
            "architecture": table.architecture,
            "tasks": ", ".join(table.heads),
            "largest difference": LARGEST[kind],
            "written as": table.written_as or kind,
        }
        for kind, table in sorted(TABLES.items())
    ]


def tokenizer_classes() -> list[dict]:
    """A row for each tokenizer class and set of its files: texts with equal ids."""
    from tests.real.test_tokenizer_classes import CLASSES, compared

    rows = []
    for name, (kind, _, _) in CLASSES.items():
        for whole in (False, True):
            with tempfile.TemporaryDirectory() as folder:
                equal, _ = compared(name, Path(folder), whole)
            source = "tokenizer.json" if whole else "its files"
            rows.append({"tokenizer": name, "class": kind, "read from": source, **equal})
    return rows


def rejected_types() -> list[dict]:
    """The model types of transformers without a table, by the nearest one that has one."""
    import transformers
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    from modelzoo.weights.tables import TABLES
    from modelzoo.weights.unknown_type import unknown_type

    transformers.logging.set_verbosity_error()
    nearest = defaultdict(list)
    for kind in sorted(set(CONFIG_MAPPING_NAMES) - set(TABLES)):
        config = {"model_type": kind}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                config |= transformers.AutoConfig.for_model(kind).to_dict()
        except Exception as error:  # some need arguments: their name alone is asked for
            print(f"{kind}: no default configuration ({type(error).__name__})", file=sys.stderr)
        said = unknown_type({**config, "model_type": kind}, "config.json")
        words = said.what.partition("the nearest is ")[2].partition(",")[0]
        nearest[words or said.did_you_mean or "none"].append(kind)
    return [
        {"nearest": near, "count": len(kinds), "rejected": ", ".join(kinds)}
        for near, kinds in sorted(nearest.items(), key=lambda item: -len(item[1]))
    ]


def main() -> None:
    args = common.parser(__doc__).parse_args()
    tables = {
        "model types": model_types(),
        "tokenizer classes": tokenizer_classes(),
        "rejected model types": rejected_types(),
    }
    packages = ("transformers", "torch", "tokenizers", "keras", "tensorflow")
    write_result("checkpoints", tables, packages=packages, folder=args.results)


if __name__ == "__main__":
    main()
