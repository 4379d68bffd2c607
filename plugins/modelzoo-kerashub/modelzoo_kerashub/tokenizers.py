"""KerasHub's byte-pair tokenizers as the `tokenizer.json` that the zoo and its devices read.

    python -m modelzoo_kerashub.tokenizers gpt2_base_en -o tokenizer.json
    modelzoo build kerashub/gpt2_base_en --tokenizer tokenizer.json -o gpt2

GPT-2, Llama 3, Qwen and their kin have such ones. SentencePiece models (Llama 2, Gemma) are another
format: their `tokenizer.json` lies beside the original checkpoint.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from modelzoo.errors import ModelzooError, OutputError, TokenizerError

__all__ = ["main", "tokenizer_json"]


def tokenizer_json(source) -> str:
    """The text of a `tokenizer.json` with the ids of a KerasHub tokenizer.

    Args:
        source: a `BytePairTokenizer` of KerasHub's, or the preset that has one.

    Raises:
        TokenizerError: it is of another kind.
        ModelzooError: the preset cannot be loaded.
    """
    from modelzoo_kerashub.construct import hub, load_preset

    kind = hub().tokenizers.BytePairTokenizer
    if isinstance(source, str):
        source = load_preset("Tokenizer", source)
    if not isinstance(source, kind) or not source.merges:
        raise TokenizerError(
            f"a {type(source).__name__} is no byte-pair tokenizer, and cannot become a "
            "tokenizer.json here",
            next_step="take the tokenizer.json of the original checkpoint: --tokenizer FILE",
        )
    source.token_to_id(source.id_to_token(0))  # it makes its inner tokenizer at first use
    return source._tokenizer.to_str()


def main(arguments: list[str] | None = None) -> int:
    """The command; see `--help`. 0, or 2 on a user's error."""
    parser = argparse.ArgumentParser(
        prog="python -m modelzoo_kerashub.tokenizers",
        description="Write the tokenizer.json of a KerasHub preset with a byte-pair tokenizer.",
    )
    parser.add_argument("preset", help="a built-in name, a directory, hf://… or kaggle://…")
    parser.add_argument("-o", "--output", default="tokenizer.json", metavar="FILE")
    options = parser.parse_args(arguments)
    try:
        text = tokenizer_json(options.preset)
        try:
            Path(options.output).write_text(text, encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{options.output} cannot be written: {error.strerror}") from error
    except ModelzooError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
