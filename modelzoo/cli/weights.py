"""modelzoo weights: a model directory as a checkpoint that other projects open."""

from __future__ import annotations

import argparse

from modelzoo.cli.common import examples
from modelzoo.cli.elapsed import Steps


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "weights",
        description="Write a model's weights, configuration and tokenizer in Hugging Face layout, "
        "which transformers opens with from_pretrained.",
        epilog=examples(
            "modelzoo weights my-gpt -o my-gpt-hf --format safetensors",
            "modelzoo weights my-gpt -o my-gpt-hf --force",
        ),
    )
    parser.add_argument("model", metavar="DIR", help="a model directory")
    parser.add_argument("-o", "--output", metavar="OUT", required=True, help="where to write it")
    parser.add_argument("--format", choices=["safetensors"], default="safetensors")
    parser.add_argument("--force", action="store_true", help="replace an existing checkpoint")
    return parser


def run(args: argparse.Namespace) -> int:
    from modelzoo.files import reserved

    with reserved(args.output, args.force), Steps() as step:
        step(f"loading {args.model}")
        from modelzoo.building.directory import load
        from modelzoo.weights import write_checkpoint

        model = load(args.model, compile=False)
        step(f"writing {args.output}")
        write_checkpoint(model, args.output, force=args.force)
    print(f"{args.output}: {model.recipe.name}, config.json, model.safetensors")
    return 0
