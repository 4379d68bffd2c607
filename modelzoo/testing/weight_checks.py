"""A weight table of the plugin: does what it writes come back, in Hugging Face's layout?"""

from __future__ import annotations

import numpy as np

from modelzoo import plugins
from modelzoo.files import scratch
from modelzoo.plugins import Plugin
from modelzoo.recipe.schema import arguments
from modelzoo.registry import architecture
from modelzoo.testing.check import fail, not_applicable
from modelzoo.testing.compare import check_equal, outputs_of
from modelzoo.testing.subject import Subject


def table(plugin: Plugin, name: str) -> None:
    """It is for the model type that its entry point names, and an architecture that there is."""
    model_type = name.partition("/")[2]
    found = plugins.load_weight_table(model_type)
    if found is None:
        fail(f"no weight table is found for the model type {model_type!r}")
    schema = arguments(architecture(found.architecture))
    keys = {*found.fixed, *(value.ours for value in found.values)}
    unknown = sorted(key for key in keys if key.partition(".")[0] not in schema)
    if unknown:
        fail(
            f"the weight table for {model_type} sets {unknown[0]}, which {found.architecture} does "
            "not take",
            next_step=f"it takes {', '.join(schema)}",
        )


def checkpoint_round_trip(subject: Subject) -> None:
    """What is written through the table is read through it: the same recipe, the same weights."""
    from keras.ops import convert_to_numpy

    from modelzoo.building.build import build
    from modelzoo.weights import write_checkpoint
    from modelzoo.weights.lookup import tables_of

    model = subject.model
    if subject.task is None:
        not_applicable(f"{subject.name} has no task, and a checkpoint is of a model with its head")
    name, task = subject.small.architecture, subject.small.task
    if not any(task in table.heads for table in tables_of(name)):
        not_applicable(f"no weight table for {name} has a head for the task {task}")
    x, _, _ = subject.batch()
    with scratch() as home:
        folder = home / "checkpoint"
        write_checkpoint(model, folder)
        again = build(folder, compile=False)
    ours = {weight.path.partition("/")[2]: weight for weight in model.weights}
    for weight in again.weights:
        path = weight.path.partition("/")[2]
        if "seed_generator" in path or path not in ours:
            continue
        if not np.array_equal(*(convert_to_numpy(each) for each in (weight, ours[path]))):
            fail(
                f"{path} is another after it was written to a checkpoint and read again",
                next_step="name it in a rule of the weight table",
            )
    check_equal(
        outputs_of(again, x),
        outputs_of(model, x),
        "the model answers differently after it was written to a checkpoint and read again",
        next_step="the table's values and fixed must say all that matters of [model]",
    )
