"""modelzoo lm-eval: a model's figures on the tasks of the lm-evaluation-harness."""

from __future__ import annotations

import argparse

from modelzoo.cli.common import add_trust, examples, print_json, table
from modelzoo.errors import DataError, ModelzooError, nearest, require

EXTRA = "lm-eval"


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "lm-eval",
        description="Measure a model that continues texts on tasks of EleutherAI's "
        "lm-evaluation-harness: those that come with it, which it downloads, or your own.",
        epilog=examples(
            "modelzoo lm-eval gpt.bundle --tasks hellaswag,piqa --limit 100",
            "modelzoo lm-eval my-gpt --tasks cloze --include-path tasks/",
        ),
    )
    parser.add_argument("model", metavar="DIR|BUNDLE", help="a model directory or a bundle")
    parser.add_argument(
        "--tasks", metavar="A,B,…", required=True, help="names of tasks, groups or tags"
    )
    parser.add_argument(
        "--include-path", metavar="DIR", help="a folder with more tasks, as YAML files"
    )
    parser.add_argument(
        "--limit", type=int, metavar="N", help="only the first N examples of each task"
    )
    parser.add_argument(
        "--num-fewshot", type=int, metavar="N", help="solved examples before each (default: 0)"
    )
    parser.add_argument(
        "--apply-chat-template", action="store_true", help="ask in turns of a conversation"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads, for bundles")
    add_trust(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def run(args: argparse.Namespace) -> int:
    require("lm_eval", EXTRA)
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    from modelzoo.bench.harness import ModelzooLM

    manager = _read_tasks(TaskManager, args.include_path)
    names = [name.strip() for name in args.tasks.split(",")]
    for name in names:
        if name not in manager.all_tasks:
            raise DataError(
                f"the harness has no task {name!r}",
                did_you_mean=nearest(name, manager.all_tasks),
                next_step="lm-eval ls tasks, or give the folder of your own: --include-path DIR",
            )
    model = ModelzooLM(args.model, threads=args.threads, trust=args.trust)
    try:
        found = simple_evaluate(
            model,
            tasks=names,
            task_manager=manager,
            limit=args.limit,
            num_fewshot=args.num_fewshot,
            apply_chat_template=args.apply_chat_template,
            log_samples=False,
            bootstrap_iters=0,
        )
    except ModelzooError:
        raise
    except Exception as error:  # what a task's file says wrong, and what its data lack
        raise DataError(
            f"the harness cannot run {args.tasks}: {error}",
            next_step="check the task's YAML file and its data; the traceback: --debug",
        ) from error
    results = found["results"]
    if args.json:
        print_json(results)
        return 0
    rows = [
        (name, key.partition(",")[0], f"{value:.4f}")
        for name, figures in results.items()
        for key, value in figures.items()
        if isinstance(value, float) and not key.partition(",")[0].endswith("_stderr")
    ]
    print(table(("task", "figure", "value"), rows, right="value"))
    return 0


def _read_tasks(manager: type, folder: str | None):
    """The harness's tasks and those of a folder."""
    try:
        return manager(include_path=folder)
    except Exception as error:  # of YAML, of a task's form, of the folder
        raise DataError(
            f"the harness cannot read the tasks: {error}",
            where=folder,
            next_step="check the folder's YAML files; the traceback: --debug",
        ) from error
