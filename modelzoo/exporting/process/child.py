"""The parent's side of the child process: start it, listen, and end it whatever happens."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Sequence

from modelzoo import child_process, errors
from modelzoo.errors import ExportError, ModelzooError
from modelzoo.files import scratch
from modelzoo.registry import components

_NOISE = ("I0000", "W0000", "WARNING: All log", "INFO: ", "VERBOSE: ", "└ ")


class ChildLog(Exception):
    """The child's traceback and the end of its log: the cause of the error that is raised here."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def run(job: dict, progress: Callable[[str], None] | None = None) -> dict:
    """One job in a child of its own; its result.

    Raises:
        ModelzooError: the child's own; or an ExportError where it died.
    """
    (answer,) = run_all([job], progress)
    if isinstance(answer, ModelzooError):
        raise answer
    return answer


def run_all(jobs: Sequence[dict], progress: Callable[[str], None] | None = None) -> list:
    """Several jobs, one after another in one child: for each its result, or its error.

    The child is gone when this returns or raises, `KeyboardInterrupt` included.
    """
    with scratch() as directory:
        path = directory / "jobs.json"
        path.write_text(json.dumps({"jobs": list(jobs)}), "utf-8")
        with open(directory / "log", "w+b") as log:
            answers, code = _listen(str(path), log, progress)
            return _answers(jobs, answers, code, log)


def _listen(path: str, log, progress) -> tuple[list[dict], int]:
    answers = []
    worker = "modelzoo.exporting.process.worker"
    with child_process.start(worker, path, stderr=log, variables=_variables()) as child:
        for line in child.stdout:
            message = json.loads(line)
            if "step" not in message:
                answers.append(message)
            elif progress is not None:
                progress(message["step"])
        return answers, child.wait()


def _variables() -> dict[str, str]:
    """TensorFlow as Keras' backend whatever the parent's is, on the CPU, in exact float32."""
    return {
        "KERAS_BACKEND": "tensorflow",
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "1"),
        "PYTHONUNBUFFERED": "1",
    }


def _answers(jobs: Sequence[dict], messages: list[dict], code: int, log) -> list:
    log.seek(0)
    text = log.read().decode("utf-8", "replace")
    found = [
        message["result"] if "result" in message else _error(message, text) for message in messages
    ]
    return found + [_died(code, text) for _ in jobs[len(found) :]]


def _error(message: dict, log: str) -> ModelzooError:
    data = message["error"]
    kind = getattr(errors, data.pop("type"), ExportError)
    error = kind(data.pop("what"), **data)
    error.__cause__ = ChildLog(f"{message['traceback']}\nThe child's log:\n{log[-8000:]}")
    return error


def _died(code: int, log: str) -> ExportError:
    how = f"ended with code {code}"
    if code < 0:
        try:
            how = f"was ended by {signal.Signals(-code).name}"
        except ValueError:
            how = f"was ended by signal {-code}"
    if code == -getattr(signal, "SIGKILL", 9):
        how += ", which is what happens when memory runs out"
    lines = [line for line in log.splitlines() if line.strip() and not line.startswith(_NOISE)]
    said = "".join(f"\n    {line[:200]}" for line in lines[-5:])
    error = ExportError(
        f"the export's child process {how}" + (f"; the end of its log:{said}" if said else ""),
        next_step="close other programs or take a smaller model; --debug shows the whole log",
    )
    error.__cause__ = ChildLog(f"The child's log:\n{log[-20000:]}")
    return error


def registrations(recipe, format: str) -> list[dict]:
    """What the child must register to know the recipe's names and the format's.

    Raises:
        ExportError: a name stands for something that no other process can import.
    """
    entries = []
    for kind, name in (
        ("architecture", recipe.architecture),
        ("task", recipe.task),
        ("exporter", format),
    ):
        item = components._registered[components.KINDS[kind]].get(name)
        if item is None:
            continue
        module, qualified = getattr(item, "__module__", None), getattr(item, "__qualname__", None)
        if module in (None, "__main__") or not qualified or "<" in qualified:
            raise ExportError(
                f"the {kind} {name!r} is defined in this process alone ({module}), and the export "
                "works in another",
                next_step="move it to a module that can be imported",
            )
        entries.append({"kind": kind, "name": name, "target": f"{module}:{qualified}"})
    return entries
