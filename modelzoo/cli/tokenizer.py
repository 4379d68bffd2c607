"""modelzoo tokenizer: train one on your text, or see what one makes of a text."""

from __future__ import annotations

import argparse
from pathlib import Path

from modelzoo.cli.common import examples, print_json, table
from modelzoo.cli.elapsed import Steps
from modelzoo.errors import ModelzooError, OutputError
from modelzoo.registry import components

# Written out: the module that owns them is heavy, and `--help` must be quick. A test compares.
KINDS = ("bpe", "byte", "wordpiece", "unigram")


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    train_example = "modelzoo tokenizer train --data corpus.txt --vocab-size 4000 -o t.json"
    show_example = 'modelzoo tokenizer show tokenizer.json "你好, world"'
    parser = subparsers.add_parser(
        "tokenizer",
        description="Train a tokenizer on your text, or see what one makes of a text.",
        epilog=examples(train_example, show_example),
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    train = actions.add_parser(
        "train",
        help="text becomes a tokenizer.json",
        description="Train a tokenizer. It spells any text by its bytes, so none is unknown.",
        epilog=examples(train_example),
    )
    train.add_argument(
        "--data",
        required=True,
        metavar="PATH",
        help="a .txt, .jsonl, .csv, .tsv or .parquet file, a directory of these, demo:python-docs",
    )
    train.add_argument(
        "--kind", default="bpe", choices=KINDS, metavar="KIND", help=", ".join(KINDS)
    )
    train.add_argument(
        "--vocab-size", type=int, metavar="N", help="at most this many tokens (default: 32,000)"
    )
    train.add_argument(
        "--task",
        default="causal-lm",
        metavar="TASK",
        help=f"whose control tokens it gets: {', '.join(components.known('task'))} "
        "(default: causal-lm)",
    )
    train.add_argument(
        "--column",
        action="append",
        default=[],
        metavar="FIELD=NAME",
        help="the column that holds a field: text=review (repeatable)",
    )
    train.add_argument("-o", "--output", required=True, metavar="FILE", help="the file to write")
    train.add_argument("--force", action="store_true", help="overwrite FILE")

    show = actions.add_parser(
        "show",
        help="the tokens of a text",
        description="Print each token of a text: its id, its name, the text it stands for.",
        epilog=examples(show_example),
    )
    show.add_argument("file", metavar="FILE", help="a tokenizer.json, or a directory with one")
    show.add_argument("text", metavar="TEXT", help="any text")
    show.add_argument("--json", action="store_true", help="print JSON")
    return parser


def run(args: argparse.Namespace) -> int:
    return _train(args) if args.action == "train" else _show(args)


def _train(args: argparse.Namespace) -> int:
    output = Path(args.output)
    # Before the minutes of work, not after.
    if output.is_dir():
        raise OutputError(f"{output} is a directory", next_step=f"-o {output / 'tokenizer.json'}")
    if output.exists() and not args.force:
        raise OutputError(f"{output} exists", next_step="--force overwrites it")
    if not output.parent.is_dir():
        raise OutputError(f"there is no directory {output.parent}", next_step="create it")
    columns = dict(_column(pair) for pair in args.column)

    from modelzoo.data.raw import iterate_texts
    from modelzoo.data.train_tokenizer import train_tokenizer
    from modelzoo.tasks.profile import said

    if not said(args.task, "reads_text"):
        raise ModelzooError(
            f"the task {args.task} reads no text, so it needs no tokenizer",
            next_step="--task causal-lm, or another task that reads text",
        )
    texts = iterate_texts(args.data, columns)
    specials = said(args.task, "special_tokens")
    with Steps() as step:
        step(f"learning {args.kind} tokens from {args.data}")
        tokenizer = train_tokenizer(texts, args.kind, args.vocab_size, specials)
    tokenizer.save(output)
    roles = ", ".join(f"{role}={tokenizer.id_to_token(id)}" for role, id in tokenizer.roles.items())
    print(f"{output}: {args.kind}, {tokenizer.vocab_size} tokens; {roles}")
    if args.vocab_size and tokenizer.vocab_size < args.vocab_size and args.kind != "byte":
        print(f"  the text has no more to learn than these; {args.vocab_size} were asked for")
    return 0


def _column(pair: str) -> tuple[str, str]:
    field, equals, name = pair.partition("=")
    if not field or not equals or not name:
        raise ModelzooError(f"--column {pair}: not FIELD=NAME", next_step="--column text=review")
    return field, name


def _show(args: argparse.Namespace) -> int:
    from modelzoo.runtime.text.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(args.file)
    tokens = tokenizer.tokens(args.text)
    if args.json:
        print_json([{"id": id, "token": token, "text": text} for id, token, text in tokens])
        return 0
    print(table(("id", "token", "text"), [(i, t, repr(x)) for i, t, x in tokens], right="id"))
    size = len(args.text.encode())
    print(f"{len(tokens)} tokens, {len(args.text)} characters, {size} bytes")
    if tokenizer.decode([id for id, _, _ in tokens]) != args.text:
        print("this text does not come back as it was: the tokenizer drops or changes characters")
    return 0
