"""The conversion of a model and nothing else, to compare the cost of an export with."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path


def main(model: str, window: str, mode: str) -> None:
    import tensorflow as tf
    from litert_quantizer import qtyping
    from litert_quantizer.quantizer import Quantizer

    import modelzoo
    from modelzoo.exporting.formats.graph import write_saved_model

    zoo = modelzoo.load(model, compile=False)
    signatures = zoo.export_signatures(max_length=int(window))
    with tempfile.TemporaryDirectory() as folder:
        graph, file = Path(folder) / "graph", Path(folder) / "float32.tflite"
        write_saved_model(signatures, graph)
        converter = tf.lite.TFLiteConverter.from_saved_model(
            str(graph), signature_keys=list(signatures)
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        converter._experimental_disable_fuse_mul_and_fc = True
        file.write_bytes(converter.convert())
        if mode == "float32":
            return
        # Everything in the mode; an export leaves tables in int8, which takes as long.
        size = {"int8": "CHANNELWISE", "int4": "BLOCKWISE_32"}[mode]
        work = Quantizer(str(file))
        work.add_dynamic_config(
            regex=".*",
            operation_name=qtyping.TFLOperationName.FULLY_CONNECTED,
            num_bits=8 if mode == "int8" else 4,
            granularity=getattr(qtyping.QuantGranularity, size),
        )
        work.add_dynamic_config(
            regex=".*",
            operation_name=qtyping.TFLOperationName.EMBEDDING_LOOKUP,
            num_bits=8,
            granularity=qtyping.QuantGranularity.CHANNELWISE,
        )
        result = work.quantize(enable_progress_bar=False, enable_progress_report=False)
        (Path(folder) / "model.tflite").write_bytes(result.quantized_model)


if __name__ == "__main__":
    main(*sys.argv[1:])
