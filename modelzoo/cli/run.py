"""modelzoo run: texts or files, one or many, through a model directory or a bundle."""

from __future__ import annotations

import argparse
import re
import sys
import time

from modelzoo.cli.common import add_trust, examples
from modelzoo.cli.media_inputs import ability_for, near_file, of_text, path_of
from modelzoo.cli.open_model import open_model
from modelzoo.cli.run_answers import shown, with_logprobs, write
from modelzoo.cli.run_inputs import inputs
from modelzoo.cli.run_options import options_for
from modelzoo.errors import DataError, ModelzooError
from modelzoo.runtime.abilities.known import ABILITIES

_CHATS = "note: this model was trained to chat; here it continues the text. To ask it, add --chat"


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "run",
        description="Run a text or a file through a model: continue, translate or classify a text, "
        "fill its masks, tag its words, embed it, answer a question about it, describe a picture, "
        "write down speech. INPUT is a text, or the path of a picture or a sound. With --chat, "
        "talk with the model: each line is a turn, /clear starts a new conversation, /exit or "
        "Ctrl-D ends it, Ctrl-C stops a reply.",
        epilog=examples(
            'modelzoo run gpt.bundle "In the beginning" --max-new-tokens 40',
            'modelzoo run gpt.bundle "Once" --temperature 0.8 --top-p 0.95 --seed 1',
            'modelzoo run gpt.bundle "In the beginning" --choices "God,the dog"',
            'modelzoo run sentiment.bundle "a fine film" --top 1',
            'modelzoo run names.bundle "Angela Merkel visited Paris"',
            "modelzoo run sentiment.bundle reviews.csv --out predictions.csv",
            "modelzoo run sentiment.bundle - --json < reviews.txt",
            'modelzoo run qa.bundle --context letter.txt "Who wrote it?"',
            "modelzoo run digits.bundle photo.png --top 3",
            "modelzoo run clip.bundle photo.png --label cat --label dog",
            'modelzoo run wudao.bundle "ask: What is this?" --image photo.png',
            'modelzoo run nli.bundle "It rained all day" --label sport --label weather',
            'modelzoo run reranker "What do cats eat?" --label "It rained." --label "Fish."',
            "modelzoo run chat.bundle --chat --when-full slide",
            'modelzoo run chat.bundle --chat --system "You answer in one sentence."',
            "modelzoo run chat.bundle --chat --set enable_thinking=false",
        ),
    )
    parser.add_argument(
        "model",
        metavar="DIR|BUNDLE",
        help="a model directory, a bundle, or the name of a plugin's bundle",
    )
    parser.add_argument(
        "input",
        metavar="INPUT",
        nargs="?",
        help="a text; a picture's or sound's path; a .csv, .tsv, .jsonl, .parquet or .txt file of "
        "texts; - reads standard input, one a line",
    )
    parser.add_argument("--pair", metavar="TEXT", help="second text, for classifying a pair")
    parser.add_argument(
        "--context",
        metavar="FILE|TEXT",
        help="where to find the answer to the question INPUT: a text, or a file of it",
    )
    parser.add_argument(
        "--label",
        action="append",
        metavar="TEXT",
        help="a label to choose from, without training; of a reranker, a text to put in order "
        "(repeatable)",
    )
    parser.add_argument(
        "--template",
        metavar="TEXT",
        help='a sentence around each label: "a photo of a {}"; of texts, one that may follow '
        '(default: "This text is about {}.")',
    )
    parser.add_argument("--prompt", metavar="TEXT", help="a question about the picture")
    parser.add_argument(
        "--image", metavar="FILE", help="a picture that the model reads before the text INPUT"
    )
    parser.add_argument(
        "--video",
        metavar="FILE|DIR",
        help="a video that it reads before INPUT: a folder of pictures, an animation, a .npy file",
    )
    parser.add_argument(
        "--choices",
        metavar="A,B,…",
        help="how the text may go on (or, for a masked model, end): each with its probability",
    )
    parser.add_argument(
        "--top",
        type=int,
        metavar="N",
        help="only the N likeliest answers (default: all; 1 to a question)",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="P",
        help="only labels with at least this probability (default: where several may apply, the "
        "thresholds that the model states; 0 gives all)",
    )
    parser.add_argument(
        "--truncate", action="store_true", help="cut a text, or a sound, that is too long"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads, for bundles")
    parser.add_argument(
        "--weight-cache",
        metavar="DIR",
        default=True,
        help="keep packed weights there (default: the user's cache)",
    )
    parser.add_argument(
        "--no-weight-cache",
        dest="weight_cache",
        action="store_const",
        const=None,
        help="keep no packed weights: every start packs them again",
    )
    add_trust(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")

    group = parser.add_argument_group("tables")
    group.add_argument(
        "--out",
        metavar="FILE",
        help="write the rows of INPUT with the answers (label and probability of a classifier) as "
        ".csv, .tsv, .jsonl or .parquet",
    )
    group.add_argument(
        "--column",
        metavar="NAME",
        help="the column to read (default: text, or text_a and text_b)",
    )
    group.add_argument("--force", action="store_true", help="replace the FILE of --out")

    group = parser.add_argument_group("chat")
    group.add_argument("--chat", action="store_true", help="a conversation; INPUT is its one turn")
    group.add_argument(
        "--system", metavar="TEXT", help="instructions for the model, before the first turn"
    )
    group.add_argument(
        "--set",
        action="append",
        metavar="NAME=VALUE",
        help="a variable of the chat template: enable_thinking=false (repeatable)",
    )

    group = parser.add_argument_group("generation")
    group.add_argument(
        "--max-new-tokens",
        type=int,
        metavar="N",
        help="maximum tokens to generate (default: 64; 512 with --chat)",
    )
    group.add_argument(
        "--temperature",
        type=float,
        metavar="X",
        help="randomness; 0 takes the likeliest token (default: 0)",
    )
    group.add_argument(
        "--top-k", type=int, metavar="K", help="draw from the K likeliest tokens (default: all)"
    )
    group.add_argument(
        "--top-p",
        type=float,
        metavar="P",
        help="draw from the smallest set of tokens with total probability P",
    )
    group.add_argument(
        "--repetition-penalty", type=float, metavar="X", help="above 1, repeats less (default: 1)"
    )
    group.add_argument(
        "--seed", type=int, metavar="N", help="seed of the random numbers (default: 0)"
    )
    group.add_argument(
        "--when-full",
        choices=("stop", "slide"),
        help="at the end of the window, stop, or drop the beginning and go on (default: stop)",
    )
    group.add_argument(
        "--speculate",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="guess tokens and check several in one pass: the same text, sooner (where it pays)",
    )
    group.add_argument(
        "--stop",
        action="append",
        metavar="TEXT",
        help=r"end at this text; \n is a line break (repeatable)",
    )
    group.add_argument(
        "--logprobs", action="store_true", help="show each token with its log-probability"
    )
    group.add_argument(
        "--stream",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="show text as it is generated (default: on a terminal)",
    )
    return parser


def run(args: argparse.Namespace) -> int:
    is_table = _check_table(args)
    model, able = open_model(args.model, args.threads, args.weight_cache, args.trust)
    if args.chat:
        return chat(model, args)
    if args.choices is not None:
        return _choose(model, able, args)
    if is_table and (of_text(able) or "rank" in able):
        return _run_table(model, _ability_of_rows(able, args), args)
    if able[0] == "generate" and _was_trained_to_chat(model):
        print(_CHATS, file=sys.stderr)
    streams = not args.json and (sys.stdout.isatty() if args.stream is None else args.stream)
    several = args.input in (None, "-")
    medium = _medium(args, able)
    for number, text in enumerate(inputs(args)):
        ability = "generate" if medium else ability_for(text, able, args.label)
        if ability == "answer" and args.context is None:
            raise _no_context(args)
        if not several and not text.strip() and ABILITIES[ability].gives != "text":
            raise DataError("the text is empty", next_step=f'modelzoo run {args.model} "some text"')
        options = options_for(ability, args)
        item = text if args.pair is None else (text, args.pair)
        item = {"text": text, **medium} if medium else item
        if args.logprobs:
            result = model.generate(item, logprobs=True, **options)
            write(with_logprobs(model.tokenizer, text, result, args.json))
        elif streams and ABILITIES[ability].gives == "text":
            for piece in getattr(model, ability)(item, stream=True, **options):
                write(piece)
            write("\n")
        else:
            answer = getattr(model, ability)(item, **options)
            if ability == "zero_shot":
                answer = answer[: args.top]
            write(shown(ability, item, answer, args.json, number if several else None))
    return 0


def _choose(model, able: tuple[str, ...], args: argparse.Namespace) -> int:
    """Each input with its choices, the likeliest first."""
    if "score" not in able:
        raise ModelzooError(
            "--choices does not fit: this model does not say how likely a text is",
            where=args.model,
            next_step="export it again, or leave --choices out",
        )
    options_for("score", args)
    choices, several = args.choices.split(","), args.input in (None, "-")
    encodes = model.engine.signatures if hasattr(model, "engine") else dir(model.backbone)
    continues, medium = "encode" not in encodes, _medium(args, able)
    for number, text in enumerate(inputs(args)):
        given = {"text": text, **medium} if medium else text
        spaced = [_after(text, choice) if continues else choice for choice in choices]
        answer = [
            (choices[spaced.index(choice)], share) for choice, share in model.rank(given, spaced)
        ]
        write(shown("score", text, answer[: args.top], args.json, number if several else None))
    return 0


def _medium(args: argparse.Namespace, able: tuple[str, ...]) -> dict[str, str]:
    """What `--image` or `--video` names, by kind.

    Raises:
        ModelzooError: the model does not read it before a text, or both are given.
        DataError: no such file.
    """
    found = {kind: value for kind in ("image", "video") if (value := getattr(args, kind))}
    for kind, value in found.items():
        if not {"generate", "caption"} <= set(able):
            raise ModelzooError(
                f"--{kind} does not fit: this model does not read a text and {kind}s together",
                where=args.model,
                next_step=f"leave --{kind} out; a model that reads {kind}s takes the path as INPUT",
            )
        if path_of(value) is None:
            raise DataError(f"no such file: {value}", did_you_mean=near_file(value))
    if len(found) > 1:
        raise ModelzooError(
            "--image and --video do not go together",
            next_step="several pictures in their order are a video: --video FOLDER",
        )
    return found


def _after(text: str, choice: str) -> str:
    """A choice as it continues a text: a word of letters stands after a space.

    >>> _after("In the beginning", "God"), _after("起初", "神"), _after("3 < ", "4")
    (' God', '神', '4')
    """
    apart = choice[:1].isascii() and choice[:1].isalnum() and not text[-1:].isspace()
    return f" {choice}" if apart and text else choice


def _was_trained_to_chat(model) -> bool:
    """Whether a bundle, or a model of a directory, has a chat template."""
    return "chat" in getattr(model, "abilities", ()) or bool(getattr(model, "chat_template", None))


def _check_table(args: argparse.Namespace) -> bool:
    """Whether INPUT is a table, with the options of a table checked before a model is loaded."""
    from modelzoo.cli.table_files import check_output, is_table
    from modelzoo.data.files import READERS

    if args.chat or args.input in (None, "-") or not is_table(args.input):
        given = next((name for name in ("out", "column") if getattr(args, name)), None)
        looks = bool(re.fullmatch(rf"\S+({'|'.join(map(re.escape, READERS))})", args.input or ""))
        if given or (looks and not args.chat and not path_of(args.input)):
            raise DataError(
                f"no such file: {args.input}" if looks else f"--{given} is for a table of texts",
                did_you_mean=near_file(args.input) if looks else None,
                next_step=f"INPUT is a {', '.join(READERS)} file then; a text goes through "
                f"standard input: modelzoo run {args.model} -",
            )
        return False
    for name in ("pair", "choices", "logprobs", "image", "video"):
        if getattr(args, name):
            raise ModelzooError(
                f"--{name} does not fit: {args.input} is a table", next_step=f"leave --{name} out"
            )
    if args.out is not None:
        check_output(args.out, args.input, "--out", args.force)
    return True


def _ability_of_rows(able: tuple[str, ...], args: argparse.Namespace) -> str:
    """What a model is to do with each row of a table."""
    if args.label and "zero_shot" in able:
        raise ModelzooError(
            f"--label does not fit: {args.input} is a table, and this model takes labels for files",
            next_step="give the files one by one, or leave --label out",
        )
    if args.label or not of_text(able):
        return ability_for(args.input, able, args.label)
    return of_text(able)[0]


def _run_table(model, ability: str, args: argparse.Namespace) -> int:
    """The rows of a file, printed, or written to `--out`."""
    from modelzoo.cli.run_table import run_table, summary

    options, begun, answers = options_for(ability, args), time.monotonic(), []
    if ABILITIES[ability].gives in ("label", "token") and not _may_be_several(model, options):
        options.setdefault("top", 1)
    for number, (item, answer) in enumerate(run_table(model, ability, options, args)):
        answers.append(answer)
        if args.out is None:
            write(shown(ability, item, answer, args.json, number))
    if args.out is not None:
        print(summary(answers, ability, args.out, time.monotonic() - begun))
    return 0


def _may_be_several(model, options: dict) -> bool:
    """Whether the answer is all labels that reach a threshold: one given here, or the model's."""
    recipe = getattr(model, "recipe", None)
    stated = recipe.table("task_options") if recipe else getattr(model, "manifest", {})
    return "top" not in options and ("threshold" in options or bool(stated.get("thresholds")))


def chat(model, args: argparse.Namespace) -> int:
    """A conversation with the model.

    Raises:
        ModelzooError: it cannot chat, or an option does not fit.
    """
    from modelzoo.cli.chat_turns import converse
    from modelzoo.recipe import parse_set

    if not hasattr(model, "chat_session"):
        raise ModelzooError(
            "--chat does not fit: this model does not generate text from left to right",
            where=args.model,
            next_step="leave --chat out",
        )
    options = {**options_for("chat", args), **parse_set(args.set or ())}
    recipe = getattr(model, "recipe", None)
    name = recipe.name if recipe else getattr(model, "manifest", {}).get("name", args.model)
    return converse(model.chat_session(), args, options, write, name)


def _no_context(args: argparse.Namespace) -> DataError:
    return DataError(
        "this model answers questions about a text, and no text is given",
        where=args.model,
        next_step=f'modelzoo run {args.model} --context FILE "{args.input or "a question"}"',
    )
