"""A table of `keras.layers.Embedding` is one that quantizers know."""

from __future__ import annotations

import keras
import numpy as np

from modelzoo.exporting.formats import tflite
from modelzoo.exporting.formats.graph import write_saved_model
from modelzoo.exporting.formats.tflite_file import read_file
from modelzoo.exporting.quantization.precision import MODES
from modelzoo.exporting.quantization.quantize import Quantization, quantize
from modelzoo.layers.backend.lookup import device_lookups
from modelzoo.signature import Signature, TensorSpec


def test_int8_reaches_an_embedding_of_keras(tmp_path):
    layer = keras.layers.Embedding(300, 32)
    layer.build()
    ids = TensorSpec((1, 5), "int32")
    signatures = {"serve": Signature(lambda x: {"rows": layer(x["token_ids"])}, {"token_ids": ids})}
    call = keras.layers.Embedding.call
    with device_lookups():
        write_saved_model(signatures, tmp_path / "graph")
    assert keras.layers.Embedding.call is call
    whole, small = tmp_path / "whole.tflite", tmp_path / "small.tflite"
    whole.write_bytes(tflite.convert(tmp_path / "graph", ["serve"], MODES["int8"]))
    file = read_file(whole)
    assert [product.operation for product in file.products] == ["EMBEDDING_LOOKUP"]
    quantize(whole, small, file, MODES["int8"], Quantization())
    (table,) = (one for one in read_file(small).constants if one.values.size == 300 * 32)
    assert table.values.dtype == np.int8
    from ai_edge_litert.interpreter import Interpreter

    given = np.array([[0, 7, 299, 7, 1]], "int32")
    found = Interpreter(model_path=str(small)).get_signature_runner("serve")(token_ids=given)
    np.testing.assert_allclose(found["rows"], layer(given), atol=1e-3)
