"""What people type for a command or an option that has another name here."""

from __future__ import annotations

import re
from collections.abc import Collection

from modelzoo.errors import nearest

__all__ = ["COMMANDS", "command_for", "in_options", "option_for"]

_RUN = (
    "run",
    "modelzoo run MODEL INPUT; for a table: modelzoo run MODEL FILE.csv --out OUT.csv",
)
_CHAT = ("run MODEL --chat", "modelzoo run MODEL --chat")
_TRAIN = ("train", "modelzoo train NAME --data FILE -o DIR; from a model of yours: --start DIR")
_SHOW = ("show", "modelzoo show NAME; a bundle's facts are in its README.md")
_WEIGHTS = (
    "weights",
    "modelzoo weights DIR -o OUT, then hf upload OWNER/NAME OUT",
)
_BUILD = ("build", "modelzoo build hf://OWNER/NAME")
_EXPORT = ("export", "modelzoo export DIR -o NAME.bundle")
_EVALUATE = ("evaluate", "modelzoo evaluate DIR --data FILE")
_BENCH = ("bench", "modelzoo bench BUNDLE")

_ARGUMENT = re.compile(r"""(?<![\w.-])(?P<name>[a-z]\w*)=(?P<value>"[^"]*"|'[^']*'|[\w.]*\w)""")

# word -> (the command that does it, how it is called)
COMMANDS = {
    **dict.fromkeys(("predict", "infer", "inference", "generate", "classify", "embed"), _RUN),
    **dict.fromkeys(("transcribe", "caption", "translate", "complete", "label"), _RUN),
    **dict.fromkeys(("chat", "talk", "repl"), _CHAT),
    **dict.fromkeys(("finetune", "fine-tune", "fit", "learn", "tune", "resume"), _TRAIN),
    **dict.fromkeys(("info", "describe", "inspect", "summary", "card"), _SHOW),
    **dict.fromkeys(("push", "upload", "publish", "share", "save"), _WEIGHTS),
    **dict.fromkeys(("download", "pull", "fetch", "get", "create"), _BUILD),
    **dict.fromkeys(("convert", "compile", "quantize", "package", "bundle"), _EXPORT),
    **dict.fromkeys(("test", "eval", "score", "validate", "metrics"), _EVALUATE),
    **dict.fromkeys(("benchmark", "profile", "time", "speed"), _BENCH),
    **dict.fromkeys(("ls", "models", "recipes", "zoo"), ("list", "modelzoo list WORD")),
    **dict.fromkeys(("copy", "clone", "duplicate"), ("cp", "modelzoo cp NAME FILE.toml")),
    **dict.fromkeys(("where", "locate", "source"), ("find", "modelzoo find NAME")),
    **dict.fromkeys(("check", "compare"), ("verify", "modelzoo verify BUNDLE --against DIR")),
    "tokenize": ("tokenizer", "modelzoo tokenizer --help"),
    "install": ("plugins", "install a plugin with pip; modelzoo plugins lists them"),
    "plugin": ("plugins", "modelzoo plugins; modelzoo new-plugin writes one"),
    "version": ("--version", "modelzoo --version"),
    "-v": ("-V", "modelzoo -V"),
    "serve": (
        None,
        "there is no server: modelzoo run BUNDLE - --json answers line by line, and "
        "modelzoo.runtime.load(BUNDLE) in a server of your own",
    ),
}

# option -> what it may be called here; the first that the command has is meant
_OPTIONS = {
    **dict.fromkeys(("-n", "--num-tokens", "--max-tokens", "--tokens"), ("--max-new-tokens",)),
    "--max-length": ("--max-new-tokens", "--length"),
    **dict.fromkeys(("--lr", "--rate"), ("--learning-rate",)),
    **dict.fromkeys(("--early-stopping", "--early-stop"), ("--patience",)),
    **dict.fromkeys(("-b", "--bs", "--batch", "--batchsize"), ("--batch-size",)),
    **dict.fromkeys(("-e", "--epoch", "--num-epochs"), ("--epochs",)),
    **dict.fromkeys(("-q", "--quantization", "--precision", "--dtype", "--bits"), ("--quantize",)),
    **dict.fromkeys(("--val", "--valid", "--eval", "--dev"), ("--validation",)),
    **dict.fromkeys(("--train", "--dataset", "--input", "--file", "-d"), ("--data",)),
    **dict.fromkeys(("--out", "--output-dir", "--save"), ("--output",)),
    **dict.fromkeys(("--overwrite", "-f", "--yes", "-y"), ("--force",)),
    **dict.fromkeys(("-t", "--temp"), ("--temperature",)),
    **dict.fromkeys(("--from", "--init", "--checkpoint"), ("--start", "--weights")),
    **dict.fromkeys(("-k", "--topk"), ("--top", "--top-k")),
    "--topp": ("--top-p",),
    "--verbose": ("--debug",),
    "--limit": ("--top",),
    "--sequence-length": ("--length",),
}


def in_options(text: str, options: Collection[str]) -> str:
    """A hint that names Python's arguments, in the words of a command that has them as options.

    Example:
        >>> in_options('when_full="slide", or truncate=True', ["--when-full", "--truncate"])
        '--when-full slide, or --truncate'
    """

    def option(found: re.Match) -> str:
        name, value = f"--{found['name'].replace('_', '-')}", found["value"].strip("\"'")
        if name not in options:
            return found[0]
        return name if value == "True" else f"{name} {value}"

    return _ARGUMENT.sub(option, text)


def command_for(word: str, commands: Collection[str]) -> tuple[str | None, str]:
    """The command that a word was meant for, and the next step.

    Example:
        >>> command_for("finetune", ["train", "run"])[0]
        'train'
        >>> command_for("trian", ["train", "run"])
        ('train', 'modelzoo --help')
    """
    if word in COMMANDS:
        return COMMANDS[word]
    near = nearest(word, {*commands, *(name for name in COMMANDS if name[0] != "-")})
    return COMMANDS.get(near, (near, "modelzoo --help")) if near else (None, "modelzoo --help")


def option_for(word: str, options: Collection[str]) -> str | None:
    """The option of a command that another was meant for, or `None`.

    Example:
        >>> option_for("--lr", ["--help", "--learning-rate"])
        '--learning-rate'
    """
    meant = next((name for name in _OPTIONS.get(word, ()) if name in options), None)
    long = [name for name in options if name.startswith("--")]
    return meant or (nearest(word, long) if word.startswith("--") else None)
