"""modelzoo completion: what a shell completes, as a script for bash, zsh or fish."""

from __future__ import annotations

import argparse

from modelzoo.cli.common import examples

SHELLS = ("bash", "zsh", "fish")
# The commands whose first word may be a recipe.
_OF_RECIPES = ("build", "cp", "export", "find", "show", "train")


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "completion",
        description="Print a script that completes commands, options and the names of recipes. "
        "fish reads it from ~/.config/fish/completions.",
        epilog=examples(
            "modelzoo completion bash >> ~/.bashrc",
            "modelzoo completion zsh >> ~/.zshrc",
            "modelzoo completion fish > modelzoo.fish",
        ),
    )
    parser.add_argument(
        "shell",
        metavar="SHELL",
        choices=(*SHELLS, "names"),
        help="bash, zsh or fish; or names, which prints the recipes and bundles, one a line",
    )
    return parser


def run(args: argparse.Namespace) -> int:
    if args.shell == "names":
        from modelzoo import registry

        known = (*registry.names(), *registry.bundles())
        print("\n".join(entry.name for entry in known if not entry.problem))
    else:
        print(_fish() if args.shell == "fish" else _bash(zsh=args.shell == "zsh"))
    return 0


def options_of_commands() -> dict[str, list[str]]:
    """The long options of each command."""
    from modelzoo.cli import COMMANDS, options_of

    return {
        command.name: sorted(name for name in options_of(command.name) if name.startswith("--"))
        for command in COMMANDS
    }


def _bash(zsh: bool) -> str:
    options = options_of_commands()
    cases = "\n".join(
        f"    {command}) words='{' '.join(found)}' ;;" for command, found in options.items()
    )
    start = "autoload -Uz bashcompinit && bashcompinit\n" if zsh else ""
    return f"""{start}_modelzoo() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" command="${{COMP_WORDS[1]}}" words=
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=( $(compgen -W '{" ".join(options)} --help --version' -- "$current") )
    return
  fi
  case "$command" in
{cases}
  esac
  case "$current" in
    -*) ;;
    *)
      words=
      case "$command" in
        {"|".join(_OF_RECIPES)}) words="$(modelzoo completion names 2>/dev/null)" ;;
        completion) words='{" ".join(SHELLS)}' ;;
        help) words='{" ".join(options)}' ;;
      esac
      COMPREPLY=( $(compgen -f -- "$current") )
      ;;
  esac
  COMPREPLY+=( $(compgen -W "$words" -- "$current") )
}}
complete -o filenames -F _modelzoo modelzoo"""


def _fish() -> str:
    from modelzoo.cli import COMMANDS

    lines = ["complete -c modelzoo -n __fish_use_subcommand -f"]
    for command in COMMANDS:
        lines.append(
            f"complete -c modelzoo -n __fish_use_subcommand -a {command.name} -d {command.help!r}"
        )
    for command, options in options_of_commands().items():
        inside = f"complete -c modelzoo -n '__fish_seen_subcommand_from {command}'"
        lines += [f"{inside} -l {option.removeprefix('--')}" for option in options]
    inside = f"complete -c modelzoo -n '__fish_seen_subcommand_from {' '.join(_OF_RECIPES)}'"
    lines.append(f"{inside} -a '(modelzoo completion names 2>/dev/null)'")
    return "\n".join(lines)
