"""Programs for the README of a TFLite bundle, one a language; its names and shapes are in them.

Kotlin, Swift, C++ and JavaScript use LiteRT's CompiledModel; each shows one call of the signature
that answers: `decode` of a model that generates, else `serve`, else the first.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping

from modelzoo.exporting.bundle.readme_code import main_signature, program

_PYTHON_HOW = (
    "`pip install ai-edge-litert`. LiteRT logs some twenty lines about accelerators to standard "
    "error, and has no switch for it: `2>/dev/null` after the command hides them."
)
_PYTHON = """
import json

import numpy as np
from ai_edge_litert.compiled_model import CompiledModel

name = "<NAME>"
with open("manifest.json", encoding="utf-8") as file:
    signature = json.load(file)["signatures"][name]
model = CompiledModel.from_file("<MODEL>")
# Zeros here: put your <DATA> in.
inputs = {key: model.create_input_buffer_by_name(name, key) for key in signature["inputs"]}
for key, tensor in signature["inputs"].items():
    inputs[key].write(np.zeros(tensor["shape"], tensor["dtype"]))
# State is input and output of the same call: one buffer is both, and is updated in place.
outputs = {
    key: inputs[key] if key in inputs else model.create_output_buffer_by_name(name, key)
    for key in signature["outputs"]
}
model.run_by_name(name, inputs, outputs)
for key, tensor in signature["outputs"].items():
    values = outputs[key].read(int(np.prod(tensor["shape"])), tensor["dtype"])
    print(key, values.reshape(tensor["shape"]).ravel()[:4])
"""


def programs(manifest: Mapping) -> str:
    """Python with LiteRT alone, Kotlin, Swift, C++ and JavaScript."""
    python = program("Python, with LiteRT alone", "python", _PYTHON, manifest, _PYTHON_HOW)
    return f"{python}\n\n{others(manifest)}"


def others(manifest: Mapping) -> str:
    """Kotlin, Swift, C++ and JavaScript."""
    name = main_signature(manifest)
    signature = manifest["signatures"][name]
    inputs, outputs = list(signature["inputs"]), list(signature["outputs"])
    shown = next((key for key in ("logits", "embedding") if key in outputs), outputs[0])
    values = {
        "INDEX": str(list(manifest["signatures"]).index(name)),
        "INPUTS": _quoted(inputs),
        "OUTPUTS": _quoted(outputs),
        "SHOWN": shown,
        "PLACE": str(outputs.index(shown)),
        "COUNT": str(math.prod(signature["outputs"][shown]["shape"])),
    }
    parts = []
    for title, language, how, template, fill in (
        ("Kotlin (Android)", "kotlin", _KOTLIN_HOW, _KOTLIN, _fill_in_kotlin),
        ("Swift (iOS, macOS)", "swift", _SWIFT_HOW, _SWIFT, _fill_in_swift),
        ("C++", "cpp", _CPP_HOW, _CPP, _fill_in_cpp),
        ("JavaScript (browser)", "javascript", _JS_HOW, _JS, _fill_in_js),
    ):
        if template is _JS and _has_small_cache(signature):
            parts.append(_NOT_IN_JS)
            continue
        code = template.replace("<FILL>", "\n".join(map(fill, _groups(signature))))
        for key, value in values.items():
            code = code.replace(f"<{key}>", value)
        parts.append(program(title, language, code, manifest, how))
    return "\n\n".join(parts)


def _has_small_cache(signature: Mapping) -> bool:
    tensors = signature["inputs"].items()
    return any(key.startswith("kv_cache") and one["dtype"] == "int8" for key, one in tensors)


def _quoted(names: list[str]) -> str:
    """Names in quotes, broken into lines where they are many."""
    text = ", ".join(f'"{name}"' for name in names)
    if len(text) < 60:
        return text
    return "\n" + textwrap.fill(text, 92, initial_indent="    ", subsequent_indent="    ")


# dtype -> what Kotlin writes and its array, and the number's name in Swift, C++ and JavaScript
_DTYPES = {
    "float32": (("Float", "Float"), "Float", "float", "Float32"),
    "int32": (("Int", "Int"), "Int32", "int32_t", "Int32"),
    "int8": (("Int8", "Byte"), "Int8", "int8_t", "Int8"),
    "uint8": (("Int8", "Byte"), "UInt8", "uint8_t", "Uint8"),
}


def _groups(signature: dict) -> list[tuple[list[int], list[str], list[int], str]]:
    """(places, names, shape, dtype: one of `_DTYPES`) of inputs that are alike."""
    groups: dict[tuple, tuple[list, list]] = {}
    for place, (name, tensor) in enumerate(signature["inputs"].items()):
        dtype = tensor["dtype"]
        if dtype not in _DTYPES:
            dtype = "int32" if dtype.startswith("int") else "float32"
        key = (tuple(tensor["shape"]), dtype)
        places, names = groups.setdefault(key, ([], []))
        places.append(place)
        names.append(name)
    return [(*group, list(shape), dtype) for (shape, dtype), group in groups.items()]


_KOTLIN_HOW = "Gradle: `implementation 'com.google.ai.edge.litert:litert:2.3.0'`."
_KOTLIN = """
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel

val model = CompiledModel.create(
    context.assets, "model.tflite", CompiledModel.Options(Accelerator.CPU))
val inputs = listOf(<INPUTS>).associateWith {
    model.createInputBuffer(it, "<NAME>")
}
// Zeros here: put your <DATA> in.
<FILL>
// State is input and output of the same call: one buffer is both, and is updated in place.
val outputs = listOf(<OUTPUTS>).associateWith {
    inputs[it] ?: model.createOutputBuffer(it, "<NAME>")
}
model.run(inputs, outputs, "<NAME>")
val result: FloatArray = outputs.getValue("<SHOWN>").readFloat()  // <COUNT> numbers
"""


def _fill_in_kotlin(group) -> str:
    _, names, shape, dtype = group
    write, array = _DTYPES[dtype][0]
    return (
        f"for (name in listOf({_quoted(names)}))\n"
        f"    inputs.getValue(name).write{write}({array}Array({math.prod(shape)}))"
    )


_SWIFT_HOW = (
    "The Swift package of [LiteRT](https://github.com/google-ai-edge/LiteRT) (`litert/swift`). Its "
    "buffers come in the order of the signature, which is the order in `manifest.json`."
)
_SWIFT = """
import LiteRT

let environment = try Environment()
let options = try Options()
try options.setHardwareAccelerators([.cpu])
let model = try CompiledModel(
    filePath: "model.tflite", environment: environment, options: options)
let inputNames = [<INPUTS>]
let outputNames = [<OUTPUTS>]
let inputs = try model.createInputBuffers(signatureIndex: <INDEX>)
var outputs = try model.createOutputBuffers(signatureIndex: <INDEX>)
// Zeros here: put your <DATA> in.
<FILL>
// State is input and output of the same call: one buffer is both, and is updated in place.
for (place, name) in outputNames.enumerated() {
    if let source = inputNames.firstIndex(of: name) { outputs[place] = inputs[source] }
}
try model.run(inputs: inputs, outputs: outputs, signatureIndex: <INDEX>)
let result: [Float] = try outputs[<PLACE>].read()  // <SHOWN>: <COUNT> numbers
"""


def _fill_in_swift(group) -> str:
    places, _, shape, dtype = group
    number = _DTYPES[dtype][1]
    return (
        f"for place in [{', '.join(map(str, places))}] {{\n"
        f"    try inputs[place].write([{number}]"
        f"(repeating: 0, count: {math.prod(shape)}))\n}}"
    )


_CPP_HOW = (
    "LiteRT's C++ library. `Duplicate` makes a second handle of the same buffer. The code after "
    "the includes goes into a function that returns `litert::Expected<void>`."
)
_CPP = """
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "litert/cc/litert_compiled_model.h"
#include "litert/cc/litert_environment.h"
#include "litert/cc/litert_macros.h"
#include "litert/cc/litert_tensor_buffer.h"

LITERT_ASSIGN_OR_RETURN(auto env, litert::Environment::Create({}));
LITERT_ASSIGN_OR_RETURN(auto model, litert::CompiledModel::Create(
    env, "model.tflite", litert::HwAccelerators::kCpu));
const std::vector<std::string> input_names = {<INPUTS>};
const std::vector<std::string> output_names = {<OUTPUTS>};
LITERT_ASSIGN_OR_RETURN(auto inputs, model.CreateInputBuffers("<NAME>"));
LITERT_ASSIGN_OR_RETURN(auto outputs, model.CreateOutputBuffers("<NAME>"));
// Zeros here: put your <DATA> in.
<FILL>
// State is input and output of the same call: one buffer is both, and is updated in place.
for (size_t i = 0; i < output_names.size(); ++i) {
  auto source = std::find(input_names.begin(), input_names.end(), output_names[i]);
  if (source != input_names.end()) {
    LITERT_ASSIGN_OR_RETURN(outputs[i], inputs[source - input_names.begin()].Duplicate());
  }
}
LITERT_RETURN_IF_ERROR(model.Run("<NAME>", inputs, outputs));
std::vector<float> result(<COUNT>);  // <SHOWN>
LITERT_RETURN_IF_ERROR(outputs[<PLACE>].Read<float>(absl::MakeSpan(result)));
"""


def _fill_in_cpp(group) -> str:
    places, _, shape, dtype = group
    kind = _DTYPES[dtype][2]
    return (
        f"for (size_t i : {{{', '.join(map(str, places))}}}) {{\n"
        f"  const std::vector<{kind}> values({math.prod(shape)});\n"
        f"  LITERT_RETURN_IF_ERROR(inputs[i].Write<{kind}>(absl::MakeConstSpan(values)));\n}}"
    )


_JS_HOW = (
    "`npm install @litertjs/core`, and its folder `wasm/` served next to the page. State comes "
    "back as new tensors: pass them to the next call, and `delete()` the old ones."
)
_NOT_IN_JS = (
    "### JavaScript (browser)\n\nLiteRT.js cannot load this bundle: its cache is int8. Export it "
    "without `export.kv_cache` for browsers."
)
_JS = """
import {loadAndCompile, loadLiteRt, Tensor} from '@litertjs/core';

await loadLiteRt('/wasm/');
const model = await loadAndCompile('model.tflite', {accelerator: 'wasm'});
const inputs = {};  // zeros here: put your <DATA> in
<FILL>
const outputs = await model.run('<NAME>', inputs);
const result = await outputs['<SHOWN>'].data();  // Float32Array of <COUNT>
for (const tensor of [...Object.values(inputs), ...Object.values(outputs)]) tensor.delete();
"""


def _fill_in_js(group) -> str:
    _, names, shape, dtype = group
    number = _DTYPES[dtype][3]
    return (
        f"for (const name of [{_quoted(names)}]) {{\n"
        f"  inputs[name] = new Tensor(\n"
        f"      new {number}Array({math.prod(shape)}), {shape});\n}}"
    )
