"""Every text family, exported to TFLite and SavedModel, compared with Keras.

    python -m benchmarks.house.parity

Random weights, real sentences. An export writes its bundle only if it answers as Keras does; these
are the largest errors, and the greedy tokens that were compared.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import modelzoo
from benchmarks import common
from benchmarks.common import write_result
from modelzoo.building.vocabulary import train_tokenizer_for
from modelzoo.data import read_examples

SMALL = {"vocab_size": 1024, "num_layers": 2, "hidden_dim": 64, "num_heads": 4, "max_length": 256}
FAMILIES = {
    "GPT-2 style": ("gpt-tiny", {"vocab_size": 1024}),
    "Llama style": (
        "gpt-tiny",
        {
            "vocab_size": 1024,
            "positions": "rotary",
            "norm": "rms",
            "activation": "silu",
            "gated": True,
            "num_kv_heads": 2,
            "attention_bias": False,
            "ffn_bias": False,
        },
    ),
    "GPT-1 style": ("gpt-1", SMALL),
    "LSTM": ("lstm-tiny", {"vocab_size": 1024}),
    "GRU": ("gru-tiny", {"vocab_size": 1024}),
    "T5": ("t5-tiny", {"vocab_size": 1024, "max_length": 256}),
    "BART": ("bart-base", SMALL),
    "Transformer": ("transformer-base", SMALL),
    "BERT": ("bert-tiny", {"vocab_size": 1024, "max_length": 128}),
    "BERT classifier": ("bert-tiny-classifier", {"vocab_size": 1024, "max_length": 128}),
}


def main() -> None:
    args = common.parser(__doc__).parse_args()
    folder = Path(tempfile.mkdtemp())
    text = list(read_examples("demo:python-docs"))[:40]
    rows = []
    for family, (name, overrides) in FAMILIES.items():
        model = modelzoo.build(name, **overrides, **{"export.max_length": None})
        model.tokenizer = train_tokenizer_for(model.recipe, text)
        for format in ("tflite", "savedmodel"):
            report = modelzoo.export(
                model, folder / f"{name}-{format}", format, quantize="float32", force=True
            )
            greedy = report.parity.get("generation", {}).get("greedy")
            row = {"family": family, "format": format, "largest error": report.max_abs_error}
            if greedy:
                row |= {"equal greedy tokens": greedy["equal"], "of": greedy["compared"]}
            rows.append(row)
    packages = ("keras", "tensorflow", "ai-edge-litert")
    write_result("parity", {"float32": rows}, packages=packages, folder=args.results)


if __name__ == "__main__":
    main()
