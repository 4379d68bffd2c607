"""ONNX Runtime as a peer: `make` writes its files, the child runs one of them."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from benchmarks.edge.peer import serve

KINDS = ("float32", "float32-fused", "int8", "int8-fused")


def make(checkpoint: Path, folder: Path, length: int) -> None:
    """`float32.onnx` and `int8.onnx` of a sentence encoder with transformers' own BERT.

    ids, mask and segments (1, length) -> the mean over tokens, normalised. Each also as `…-fused`,
    after ONNX Runtime's own optimizer for BERT has put attention, norms and GELU together.
    """
    import onnx
    import torch
    import transformers
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.transformers.optimizer import optimize_model

    bert = transformers.BertModel.from_pretrained(checkpoint, attn_implementation="eager")

    class Encoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.bert = bert.eval()

        def forward(self, ids, mask, segments):
            tokens = self.bert(ids, attention_mask=mask, token_type_ids=segments)[0]
            weight = mask.unsqueeze(-1).to(tokens.dtype)
            mean = (tokens * weight).sum(1) / weight.sum(1)
            return torch.nn.functional.normalize(mean, dim=-1)

    ids = torch.ones((1, length), dtype=torch.int64)
    plain = folder / "float32.onnx"
    with torch.no_grad():
        torch.onnx.export(
            Encoder(),
            (ids, ids, torch.zeros_like(ids)),
            str(plain),
            input_names=["token_ids", "padding_mask", "segment_ids"],
            output_names=["embedding"],
            opset_version=17,
            dynamo=False,
        )
    fused = optimize_model(
        str(plain),
        model_type="bert",
        num_heads=bert.config.num_attention_heads,
        hidden_size=bert.config.hidden_size,
    )
    fused.save_model_to_file(str(folder / "float32-fused.onnx"))
    for kind in ("", "-fused"):
        source, target = folder / f"float32{kind}.onnx", folder / f"int8{kind}.onnx"
        quantize_dynamic(
            str(source),
            str(target),
            weight_type=QuantType.QInt8,
            reduce_range=False,  # that one is for processors without VNNI
            # Shapes of the fused operations are not inferred, and then it asks.
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )


def main(job: dict) -> None:
    import numpy as np
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = job["threads"], 1
    began = time.perf_counter()
    session = onnxruntime.InferenceSession(
        job["model"], options, providers=["CPUExecutionProvider"]
    )
    loaded = time.perf_counter() - began
    names = {one.name for one in session.get_inputs()}
    inputs = {
        "token_ids": np.array([job["tokens"]], np.int64),
        "padding_mask": np.ones((1, len(job["tokens"])), np.int64),
        "segment_ids": np.zeros((1, len(job["tokens"])), np.int64),
    }
    inputs = {name: value for name, value in inputs.items() if name in names}

    def measure() -> dict:
        times = []
        for _ in range(job["calls"]):
            began = time.perf_counter()
            (embedding,) = session.run(None, inputs)
            times.append((time.perf_counter() - began) * 1e3)
        return {"latency_ms": float(np.median(times)), "embedding": embedding[0].tolist()}

    serve({"load_s": loaded}, measure)


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    if "checkpoint" in given:
        make(Path(given["checkpoint"]), Path(given["folder"]), given["length"])
    else:
        main(given)
