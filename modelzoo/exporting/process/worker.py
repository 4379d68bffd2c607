"""The child process of an export: `python -m modelzoo.exporting.process.worker JOBS.json`.

It answers on standard output, one JSON object a line: {"step": …} while it works, and for each job
{"result": …} or {"error": …, "traceback": …}. All else that is printed, most of it by native code,
goes to standard error.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import threading
import traceback

from modelzoo.child_process import answer_stream
from modelzoo.errors import ExportError, ModelzooError, OutputError


def main(path: str) -> int:
    answers = answer_stream()
    # Ctrl-C reaches the whole terminal; what to do about it is the parent's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def answer(**message) -> None:
        answers.write(json.dumps(message).encode() + b"\n")
        answers.flush()

    with open(path, encoding="utf-8") as file:
        work = json.load(file)
    for job in work["jobs"]:
        try:
            answer(result=_run(job, lambda step: answer(step=step)))
        except (Exception, MemoryError) as error:
            answer(error=error_as_data(error), traceback=traceback.format_exc())
    return 0


def _run(job: dict, progress) -> dict:
    # Imported here, so that a missing TensorFlow is an answer too.
    from modelzoo.errors import require

    progress("starting TensorFlow")
    require("tensorflow", "tensorflow")
    require("keras", "tensorflow")
    from modelzoo.exporting.process.jobs import JOBS, register

    register(job.get("registrations", []))
    return JOBS[job["job"]](job, progress)


def _end_with_parent() -> None:
    """The parent holds the other end of standard input: when it closes, nobody waits for us."""
    sys.stdin.buffer.read()
    os._exit(1)


def error_as_data(error: BaseException) -> dict:
    """Any error as the fields of a ModelzooError."""
    if not isinstance(error, ModelzooError):
        error = _named(error)
    return {
        "type": type(error).__name__,
        "what": error.what,
        "where": error.where,
        "did_you_mean": error.did_you_mean,
        "next_step": error.next_step,
    }


def _named(error: BaseException) -> ModelzooError:
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    # TensorFlow writes files in native code, and says so in words only.
    if full or "No space left on device" in str(error):
        return OutputError("the disk is full", next_step="free some space; no file is left")
    if isinstance(error, MemoryError):
        return ExportError("there is not enough memory for the conversion")
    first = str(error).strip().partition("\n")[0]
    return ExportError(
        f"the export failed: {type(error).__name__}: {first}",
        next_step="--debug shows the traceback and the log",
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
