"""GPT-2 small and BERT-base compared with KerasHub and Hugging Face.

    python -m benchmarks.peers.speed

Needs `pip install "modelzoo-keras[tensorflow,jax]" keras-hub transformers torch`. Each subject runs
alone in a process of its own, on the same sizes, random weights, float32 and AdamW, without
dropout: a training step is 2 rows of 256 tokens, a generation 64 tokens after a prompt of 32. Every
subject runs as its own documentation has it: KerasHub compiles with XLA, Hugging Face runs eagerly.
modelzoo runs on both of its backends; the ratios are those of the first, TensorFlow, which runs
without XLA. How fast one token follows another differs from run to run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

from benchmarks import common
from benchmarks.common import in_child, write_result

ROWS, LENGTH, MASKED, PROMPT, NEW = 2, 256, 38, 32, 64
GPT_VOCABULARY, BERT_VOCABULARY = 50_257, 30_522


def arrays(model: str) -> dict:
    import numpy as np

    generator = np.random.default_rng(0)
    if model == "gpt-small":
        ids = generator.integers(0, GPT_VOCABULARY, (ROWS, LENGTH + 1)).astype("int32")
        return {"x": ids[:, :-1], "y": ids[:, 1:], "mask": np.ones((ROWS, LENGTH), bool)}
    ids = generator.integers(0, BERT_VOCABULARY, (ROWS, LENGTH)).astype("int32")
    at = np.sort(
        np.stack([generator.choice(LENGTH, MASKED, replace=False) for _ in range(ROWS)])
    ).astype("int32")
    return {
        "x": ids,
        "y": np.take_along_axis(ids, at, 1),
        "at": at,
        "mask": np.ones((ROWS, LENGTH), bool),
        "segments": np.zeros((ROWS, LENGTH), "int32"),
        "nsp": np.array([0, 1], "int32"),
    }


# === Subjects: (model) -> a function that makes one training step, and one that generates ===


def subject_modelzoo(model: str):
    import modelzoo

    zoo = modelzoo.build(model, dropout=0.0, attention_dropout=0.0)
    data = arrays(model)
    if model == "gpt-small":
        batch = ({"token_ids": data["x"], "padding_mask": data["mask"]}, data["y"])
    else:
        batch = (
            {
                "token_ids": data["x"],
                "segment_ids": data["segments"],
                "padding_mask": data["mask"],
                "mask_positions": data["at"],
            },
            {"mlm": data["y"], "nsp": data["nsp"]},
        )

    def generate():
        return zoo.generate_tokens([list(range(100, 100 + PROMPT))], max_new_tokens=NEW)

    return lambda: zoo.train_on_batch(*batch), generate


def subject_kerashub(model: str):
    import keras
    import keras_hub
    import numpy as np

    data = arrays(model)
    size = {"num_layers": 12, "num_heads": 12, "hidden_dim": 768, "intermediate_dim": 3072}
    if model == "gpt-small":
        backbone = keras_hub.models.GPT2Backbone(
            vocabulary_size=GPT_VOCABULARY, dropout=0.0, max_sequence_length=1024, **size
        )
        task = keras_hub.models.GPT2CausalLM(backbone=backbone)
        batch = ({"token_ids": data["x"], "padding_mask": data["mask"]}, data["y"])
    else:
        backbone = keras_hub.models.BertBackbone(
            vocabulary_size=BERT_VOCABULARY, dropout=0.0, **size
        )
        task = keras_hub.models.BertMaskedLM(backbone=backbone)
        batch = (
            {
                "token_ids": data["x"],
                "segment_ids": data["segments"],
                "padding_mask": data["mask"],
                "mask_positions": data["at"],
            },
            data["y"],
        )
    task.compile(
        optimizer=keras.optimizers.AdamW(5e-4),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        weighted_metrics=[keras.metrics.SparseCategoricalAccuracy()],
    )

    def generate():
        ids = np.zeros((1, PROMPT + NEW), "int32")
        ids[:, :PROMPT] = np.arange(100, 100 + PROMPT)
        mask = np.zeros((1, PROMPT + NEW), "int32")
        mask[:, :PROMPT] = 1
        return task.generate({"token_ids": ids, "padding_mask": mask}, stop_token_ids=None)

    return lambda: task.train_on_batch(*batch), generate


def subject_transformers(model: str):
    import torch
    import transformers

    data = {key: torch.tensor(value).long() for key, value in arrays(model).items()}
    if model == "gpt-small":
        config = transformers.GPT2Config(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
        task = transformers.GPT2LMHeadModel(config)
        labels = torch.cat([data["x"][:, :1], data["y"]], 1)[:, :LENGTH]
        inputs = {"input_ids": data["x"], "attention_mask": data["mask"], "labels": labels}
    else:
        config = transformers.BertConfig(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
        task = transformers.BertForPreTraining(config)
        labels = torch.full((ROWS, LENGTH), -100).scatter(1, data["at"], data["y"])
        inputs = {
            "input_ids": data["x"],
            "attention_mask": data["mask"],
            "token_type_ids": data["segments"],
            "labels": labels,
            "next_sentence_label": data["nsp"],
        }
    optimizer = torch.optim.AdamW(task.parameters(), 5e-4)

    def step():
        task.train()
        loss = task(**inputs).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(task.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return float(loss)

    def generate():
        task.eval()
        with torch.no_grad():
            prompt = torch.arange(100, 100 + PROMPT)[None]
            return task.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                do_sample=False,
                min_new_tokens=NEW,
                max_new_tokens=NEW,
                pad_token_id=0,
            )

    return step, generate


SUBJECTS = {
    "modelzoo": subject_modelzoo,
    "modelzoo on JAX": subject_modelzoo,
    "KerasHub": subject_kerashub,
    "Hugging Face": subject_transformers,
}


def measure(name: str, model: str, steps: int) -> dict[str, float]:
    """Runs in a child: seconds, tokens a second, GiB."""
    step, generate = SUBJECTS[name](model)

    def timed(function):
        began = time.perf_counter()
        function()
        return time.perf_counter() - began

    from modelzoo.bench.memory import peak_bytes

    figures = {"first step s": timed(step)}
    figures["step s"] = statistics.median(timed(step) for _ in range(steps))
    figures["memory GiB"] = (peak_bytes() or 0) / 2**30
    if model == "gpt-small":
        figures["first generation s"] = timed(generate)
        figures["tokens/s"] = NEW / statistics.median(timed(generate) for _ in range(3))
    return figures


def child(name: str, model: str, steps: int) -> dict[str, float]:
    backend = "jax" if name.endswith("JAX") else "tensorflow"
    arguments = ("--child", name, "--model", model, "--steps", steps)
    return in_child("benchmarks.peers.speed", *arguments, KERAS_BACKEND=backend)


def rows_of(results: dict[str, dict[str, float]]) -> list[dict]:
    """A row a subject, and how many times as long modelzoo takes as each of the others."""
    ours = results["modelzoo"]
    rows = [
        {"": name, **{key: round(value, 2) for key, value in found.items()}}
        for name, found in results.items()
    ]
    for name in ("KerasHub", "Hugging Face"):
        ratios = {key: round(ours[key] / value, 2) for key, value in results[name].items()}
        rows.append({"": f"modelzoo / {name}", **ratios})
    return rows


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--models", default="gpt-small,bert-base")
    parser.add_argument("--steps", type=int, default=5, help="counted training steps")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--model", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(measure(args.child, args.model, args.steps)))
        return
    figures = {
        model: rows_of({name: child(name, model, args.steps) for name in SUBJECTS})
        for model in args.models.split(",")
    }
    packages = ("tensorflow", "jax", "keras", "keras-hub", "torch", "transformers")
    write_result("peers", figures, packages=packages, folder=args.results)


if __name__ == "__main__":
    main()
