"""Importing all that a plugin brings, in a process of its own: it may exit, crash, hang or print.

python -m modelzoo.plugins.probe acme      one line of JSON: {"seconds": 1.2, "problem": null}
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from importlib import import_module

from modelzoo import child_process
from modelzoo.errors import PluginError
from modelzoo.plugins.plugin import GROUPS, Plugin
from modelzoo.plugins.use import get, import_package, load

__all__ = ["Probe", "import_all", "probe"]

TIMEOUT = 120


@dataclass(frozen=True)
class Probe:
    """What importing a plugin was like.

    Attributes:
        seconds: wall clock of importing all that it brings into a fresh Python; `None` where it
            did not come to an end.
        problem: why it cannot be used, or `None`.
        printed: whether it wrote to standard output meanwhile.
    """

    seconds: float | None
    problem: str | None
    printed: bool = False


def probe(plugin: Plugin, timeout: float = TIMEOUT) -> Probe:
    """Import a plugin in a child process. Never raises for what the plugin does."""
    if not plugin.usable:
        return Probe(None, plugin.problem)
    try:
        ended = child_process.run("modelzoo.plugins.probe", plugin.namespace, timeout=timeout)
    except TimeoutError:
        return Probe(None, f"importing it did not come to an end within {timeout:g} s")
    try:
        return Probe(**json.loads(ended.answer))
    except (ValueError, TypeError):
        said = ended.last_words
        how = f"importing it ended the interpreter with code {ended.code}"
        return Probe(None, f"{how}: {said}" if said else how)


def main(namespace: str) -> int:
    import tempfile
    import time

    answers = child_process.answer_stream()
    problem, began = None, time.perf_counter()
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 1)  # native code prints too
        try:
            import_all(namespace)
        except PluginError as error:
            problem = f"{error.what} ({error.where})"
        seconds = time.perf_counter() - began
        sys.stdout.flush()
        printed = said.seek(0, os.SEEK_END) > 0
    found = {"seconds": round(seconds, 3), "problem": problem, "printed": printed}
    answers.write(json.dumps(found).encode())
    answers.close()
    return 0


def import_all(namespace: str) -> None:
    """Import the package and everything that the plugin's entry points name.

    What it prints meanwhile goes where it would in the author's own script.

    Raises:
        PluginError: of the first that fails.
    """
    plugin = get(namespace)
    for module in _modules(plugin) if plugin else ():
        try:
            import_module(module)
        except (Exception, SystemExit):
            break  # it fails once more below, which says what of
    import_package(namespace)
    for group in GROUPS:
        for short in getattr(plugin, group):
            load(group, f"{namespace}/{short}")


def _modules(plugin: Plugin) -> list[str]:
    targets = [target for group in GROUPS for target in getattr(plugin, group).values()]
    return [plugin.package, *dict.fromkeys(t.partition(":")[0].strip() for t in targets)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
