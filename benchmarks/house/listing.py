"""The time to list models, with 50 plugins of 50 recipes.

Once each recipe is a file, and once the recipes of a plugin are the tables of a catalogue.

    python -m benchmarks.house.listing

Each plugin is a distribution of its own in a temporary site directory, with an architecture and
recipes, and a package that raises when it is imported. Each command runs in a fresh Python; the
figure is the least of five runs. Exit code 1 where a command needs 0.3 s of CPU or more, or
imports a plugin, Keras or numpy.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import common
from benchmarks.common import ROOT, write_result

LIMIT = 0.3
COMMANDS = (("list",), ("list", "--json"), ("plugins",), ("plugins", "--json"))
HEAVY = {"keras", "tensorflow", "jax", "numpy"}

RECIPE = """\
# modelzoo build maker{plugin}/decoder-{number}
summary      = "Decoder {number} of maker {plugin}, one of many in a long list"
architecture = "maker{plugin}/decoder"
task         = "causal-lm"
parameters   = {parameters:_}
reference    = "Radford et al. 2019, Language Models are Unsupervised Multitask Learners"

[model]
vocab_size = 4_000
num_layers = {number}
hidden_dim = 128
num_heads  = 4
ffn_dim    = 352               # about 8/3 of hidden_dim
max_length = 256

[tokenizer]
kind = "bpe"

[train]
optimizer     = "adamw"
learning_rate = 1e-3
"""

# Prints what the command cost and imported, on standard error: its own output is thrown away.
CHILD = """
import resource, sys
from modelzoo.cli import main
code = main(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_SELF)
tops = sorted({name.partition(".")[0] for name in sys.modules})
print(code, used.ru_utime + used.ru_stime, ",".join(tops), file=sys.stderr)
"""


def install(site: Path, plugins: int, recipes: int, *, catalogue: bool) -> None:
    """Writes the distributions as pip would leave them behind, with files or catalogues."""
    for plugin in range(plugins):
        package, name = site / f"modelzoo_maker{plugin}", f"maker{plugin}"
        (package / "recipes").mkdir(parents=True)
        tables = []
        (package / "__init__.py").write_text("raise RuntimeError('a plugin was imported')\n")
        (package / "decoder.py").write_text("def build(*, num_layers: int = 1): ...\n")
        for number in range(1, recipes + 1):
            text = RECIPE.format(plugin=plugin, number=number, parameters=10_000 * number)
            if catalogue:
                tables.append(as_table(f"decoder-{number}", text))
            else:
                (package / "recipes" / f"decoder-{number}.toml").write_text(text)
        if catalogue:
            (package / "recipes.toml").write_text("\n".join(tables))
        info = site / f"modelzoo_{name}-0.1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: modelzoo-{name}\nVersion: 0.1.0\n"
            "Requires-Dist: modelzoo-keras>=0.2,<1\n"
        )
        (info / "entry_points.txt").write_text(
            f"[modelzoo.plugins]\n{name} = modelzoo_{name}\n"
            f"[modelzoo.architectures]\ndecoder = modelzoo_{name}.decoder:build\n"
        )


def as_table(name: str, text: str) -> str:
    """A recipe's file as the table of a catalogue."""
    return f"[{name}]\n" + text.replace("\n[", f"\n[{name}.")


def measure(site: Path, command: tuple[str, ...], runs: int) -> tuple[float, int, list[str]]:
    """Seconds of CPU, lines of output, and what was imported that must not be."""
    environment = {key: v for key, v in os.environ.items() if key != "MODELZOO_PLUGINS"}
    environment["PYTHONPATH"] = os.pathsep.join((str(site), str(ROOT)))
    found = []
    for _ in range(runs):
        done = subprocess.run(
            [sys.executable, "-c", CHILD, *command],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        code, seconds, modules = done.stderr.strip().rpartition("\n")[2].split(" ")
        if code != "0":
            raise SystemExit(f"modelzoo {' '.join(command)} ended with {code}: {done.stderr}")
        found.append(float(seconds))
    imported = {name for name in modules.split(",") if name in HEAVY or "maker" in name}
    return min(found), done.stdout.count("\n"), sorted(imported)


def main() -> int:
    parser = common.parser(__doc__)
    parser.add_argument("--plugins", type=int, default=50)
    parser.add_argument("--recipes", type=int, default=50)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    bad, rows = False, []
    with tempfile.TemporaryDirectory(prefix="modelzoo-") as scratch:
        empty, files, tables = (Path(scratch, name) for name in ("empty", "files", "tables"))
        empty.mkdir()
        install(files, args.plugins, args.recipes, catalogue=False)
        install(tables, args.plugins, args.recipes, catalogue=True)
        for command in COMMANDS:
            alone, _, _ = measure(empty, command, args.runs)
            seconds, lines, imported = measure(files, command, args.runs)
            tabled, *same = measure(tables, command, args.runs)
            if same != [lines, imported]:
                raise SystemExit(f"modelzoo {' '.join(command)}: catalogues list otherwise: {same}")
            bad = bad or max(seconds, tabled) >= LIMIT or bool(imported)
            rows.append(
                {
                    "command": "modelzoo " + " ".join(command),
                    "without plugins, CPU s": round(alone, 3),
                    "with plugins, CPU s": round(seconds, 3),
                    "with catalogues, CPU s": round(tabled, 3),
                    "lines": lines,
                    "imported": ", ".join(imported) or "nothing",
                }
            )
    title = f"{args.plugins} plugins of {args.recipes} recipes"
    write_result("listing", {title: rows}, folder=args.results)
    print(f"limit {LIMIT} s of CPU: {'MISSED' if bad else 'kept'}")
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
