"""modelzoo build: from a name to a model directory."""

from __future__ import annotations

import argparse

from modelzoo.cli.common import (
    add_pretrained,
    add_set,
    add_task,
    exact,
    examples,
    note,
    told_warnings,
)
from modelzoo.cli.elapsed import Steps


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "build",
        description="Build a Keras model from its recipe, or from a checkpoint, and write its "
        "directory.",
        epilog=examples(
            "modelzoo build gpt-tiny",
            "modelzoo build bert-base --pretrained",
            "modelzoo build gpt-small -o small --set num_layers=6 --set dropout=0",
            "modelzoo build my-recipe.toml --tokenizer tokenizer.json",
            "modelzoo build hf://HuggingFaceTB/SmolLM2-135M -o smollm2",
            "modelzoo build SmolLM2-135M-Instruct.Q4_1.gguf -o chat",
            "modelzoo build bert-base --task text-classification -o topics",
            "modelzoo build minilm-l6 --weights all-MiniLM-L6-v2/ -o minilm",
        ),
    )
    parser.add_argument(
        "name",
        metavar="NAME",
        help="a recipe, a TOML file, a model directory, or a checkpoint: a directory in Hugging "
        "Face layout, a .safetensors or .gguf file, hf://owner/name",
    )
    parser.add_argument("-o", "--output", metavar="DIR", help="where to write it (default: NAME)")
    add_task(parser)
    add_set(parser)
    add_pretrained(parser)
    parser.add_argument(
        "--weights", metavar="SOURCE", help="take weights from a model directory or a checkpoint"
    )
    parser.add_argument("--tokenizer", metavar="PATH", help="take a tokenizer.json along")
    parser.add_argument("--force", action="store_true", help="replace an existing directory")
    return parser


def run(args: argparse.Namespace) -> int:
    from modelzoo import registry
    from modelzoo.building.build import build
    from modelzoo.building.directory import save
    from modelzoo.building.pretrained import published_weights
    from modelzoo.files import reserved
    from modelzoo.recipe import parse_set
    from modelzoo.registry import components
    from modelzoo.weights import is_source
    from modelzoo.weights.derive import recipe_name
    from modelzoo.weights.hub.download import download, is_hub
    from modelzoo.weights.origin import sentence, source_table

    changes = parse_set(args.set)
    if args.task is not None:
        changes["task"] = args.task
    given = args.name
    with told_warnings(), Steps() as step:
        if is_source(args.name) and not registry.is_name(args.name):
            name, weights = recipe_name(args.name), None
        else:
            given = registry.recipe(args.name, changes)
            components.check("task", given.task)
            changes, name, weights = {}, given.name, given.weights
            if args.pretrained:
                published_weights(given, args.weights)
        output = args.output or name.rpartition("/")[2]
        with reserved(output, args.force):
            source = str(weights if args.pretrained else args.weights or args.name)
            if is_hub(source):
                download(source)  # whose progress bar would meet a line that ticks
            step(f"building {name}")
            model = build(
                given,
                tokenizer=args.tokenizer,
                weights=args.weights,
                pretrained=args.pretrained,
                **changes,
            )
            step(f"writing {output}")
            save(model, output, force=args.force)
    recipe, source = model.recipe, source_table(model)
    print(f"{output}: {recipe.name}, {recipe.task}, {exact(model.count_params())} parameters")
    if source.get("weights") == "random":
        other = f"--pretrained fetches {weights}" if weights else "--weights SOURCE takes others"
        note(f"random weights; {other}")
    elif source:
        note(sentence(source))
    return 0
