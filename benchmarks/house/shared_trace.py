"""Training with one trace for equal blocks, compared with a trace for each.

    python -m benchmarks.house.shared_trace

Small models of eight families train ten steps, once with the shared trace of
`modelzoo.layers.backend.shared_trace` and once without, on one device, on two replicas, with half
of the blocks frozen, with LoRA on dense layers, in bfloat16 and compiled with XLA. Each figure is
the largest difference: of the gradients' norms in the first step, relative to the norm, and of all
weights after the last step. It ends with 1 where a difference is larger than 1e-6, or 1e-2 in
bfloat16; XLA may sum in another order in each graph, so 1e-5 is allowed there.
"""

from __future__ import annotations

import contextlib
import os
import sys
from functools import cache

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks import common
from benchmarks.common import write_result

SHAPE = {"num_layers": 4, "hidden_dim": 16, "num_heads": 2}
TEXT = {**SHAPE, "vocab_size": 600, "max_length": 24}
STILL = {"dropout": 0.0, "attention_dropout": 0.0}
TOWERS = {
    f"{tower}.model.{key}": value
    for tower in ("image", "text")
    for key, value in {**SHAPE, "dropout": 0.0}.items()
}
FAMILIES = {
    "gpt": ("gpt-tiny", {**TEXT, **STILL}),
    "llama": ("smollm2-135m", {**TEXT, "num_kv_heads": 1, "ffn_dim": 32}),
    "bert": ("bert-tiny-classifier", {**TEXT, **STILL, "task_options.dropout": 0.0}),
    "t5": ("t5-tiny", {**TEXT, "head_dim": 8, "ffn_dim": 32, "dropout": 0.0}),
    "bart": ("bart-base", {**TEXT, "ffn_dim": 32, **STILL}),
    "vit": ("vit-tiny", {**SHAPE, "dropout": 0.0}),
    "clip": (
        "clip-tiny",
        {
            "embed_dim": 8,
            "image.recipe": "vit-tiny",
            "image.pooling": "mean",
            "task_options.augment": None,
            "text.model.vocab_size": 600,
            "text.model.attention_dropout": 0.0,
            **TOWERS,
        },
    ),
    "whisper": ("whisper-nano", {**TEXT, "num_columns": 40, "dropout": 0.0}),
}
CONTEXTS = ("one device", "two replicas", "half frozen", "LoRA", "bfloat16", "XLA")
ROWS, STEPS, RATE = 4, 10, 0.05


def inputs(family: str, model) -> tuple:
    """x, y and sample weights of one batch, the same each time."""
    import numpy as np

    draw = np.random.default_rng(0)
    ids = draw.integers(5, 500, (ROWS, 12)).astype("int32")
    mask = np.ones((ROWS, 12), "int32")
    mask[::2, 8:] = 0
    text = {"token_ids": ids, "padding_mask": mask}
    images = draw.integers(0, 255, (ROWS, 28, 28, 3)).astype("uint8")
    if family == "bert":
        return text, np.arange(ROWS) % model.num_labels, None
    if family == "vit":
        return {"images": images}, np.arange(ROWS) % model.num_labels, None
    if family == "clip":
        return {"images": images, **text}, np.arange(ROWS), None
    if family in ("t5", "bart"):
        text = {**text, "decoder_token_ids": ids, "decoder_padding_mask": mask}
    if family == "whisper":
        samples = model.processing()["audio"]["num_samples"]
        text = {**text, "audio": draw.normal(0, 0.1, (ROWS, samples)).astype("float32")}
    return text, np.roll(ids, -1, 1), mask.astype("float32")


def trained(family: str, context: str) -> tuple[list, list]:
    """The norms of the first step's gradients, and the weights after the last step."""
    import keras
    import numpy as np

    import modelzoo

    name, changes = FAMILIES[family]
    keras.utils.set_random_seed(3)
    precision = "mixed_bfloat16" if context == "bfloat16" else "float32"
    keras.config.set_dtype_policy(precision)
    with replicas().scope() if context == "two replicas" else contextlib.nullcontext():
        model = modelzoo.build(name, compile=False, **changes)
        change(model, context)
        model.compile(keras.optimizers.SGD(RATE), *losses(model), jit_compile=context == "XLA")
    keras.config.set_dtype_policy("float32")
    x, y, weights = inputs(family, model)
    norms = []
    for _ in range(STEPS):
        before = [np.array(weight) for weight in model.trainable_weights]
        model.fit(x, y, sample_weight=weights, batch_size=ROWS, verbose=0, shuffle=False)
        after = [np.array(weight) for weight in model.trainable_weights]
        norms = norms or [np.linalg.norm(a - b) / RATE for a, b in zip(after, before, strict=True)]
    return norms, [np.array(weight, "float32") for weight in model.weights]


@cache
def replicas():
    """Two of them on this processor; TensorFlow wants one strategy a process."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def losses(model) -> tuple:
    from modelzoo.registry import task_of

    loss, metrics = task_of(model.recipe).losses()
    return loss, None, None, metrics


def change(model, context: str) -> None:
    """Freeze every other block, or give two dense layers of each an addition of low rank."""
    import numpy as np

    from modelzoo.layers.block import TransformerBlock

    blocks = [one for one in model._flatten_layers() if isinstance(one, TransformerBlock)]
    if context == "half frozen":
        for block in blocks[::2]:
            block.trainable = False
    if context == "LoRA":
        draw = np.random.default_rng(1)
        for block in blocks[1:]:
            for dense in (block.attention.query, block.ffn.up):
                dense.enable_lora(rank=2)
                dense.lora_kernel_b.assign(draw.normal(0, 0.1, dense.lora_kernel_b.shape))


def compare(family: str, context: str) -> dict:
    """A row of the table."""
    import keras
    import numpy as np

    from modelzoo.layers import stack

    with_one = trained(family, context)
    shared = stack.shared_trace
    stack.shared_trace = lambda: keras.layers.Layer.__call__
    try:
        alone = trained(family, context)
    finally:
        stack.shared_trace = shared
    norms = [abs(a - b) / max(b, 1e-3) for a, b in zip(with_one[0], alone[0], strict=True)]
    weights = [float(np.abs(a - b).max()) for a, b in zip(with_one[1], alone[1], strict=True)]
    return {
        "family": family,
        "context": context,
        "gradient norms, largest difference": float(max(norms)),
        "weights after 10 steps, largest difference": max(weights),
        "weights without a gradient": sum(float(norm) == 0 for norm in with_one[0]),
        "the same without sharing": sum(float(norm) == 0 for norm in alone[0]),
    }


def main() -> int:
    parser = common.parser(__doc__)
    parser.add_argument("--only", nargs="*", default=list(FAMILIES), choices=FAMILIES)
    args = parser.parse_args()
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    rows, bad = [], False
    for family in args.only:
        for context in CONTEXTS:
            row = compare(family, context)
            allowed = {"bfloat16": 1e-2, "XLA": 1e-5}.get(context, 1e-6)
            worst = max(value for key, value in row.items() if key.endswith("difference"))
            same = row["weights without a gradient"] == row["the same without sharing"]
            bad = bad or not worst <= allowed or not same
            print(f"{family:8} {context:13} {worst:.1e}", flush=True)
            rows.append(row)
    write_result("shared_trace", {"ten steps": rows}, folder=args.results)
    print("larger than allowed" if bad else "all equal")
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
