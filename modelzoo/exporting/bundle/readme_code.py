"""Programs for a bundle's README, with its own names and shapes in them.

Those that do without modelzoo are the format's; see `exporting.formats.format`.
"""

from __future__ import annotations

from collections.abc import Mapping

from modelzoo.about import WHEEL
from modelzoo.runtime.engines.opening import ENGINES, engine_of


def main_signature(manifest: Mapping) -> str:
    """The signature that the programs call."""
    signatures = manifest["signatures"]
    first = next(iter(signatures))
    return next((name for name in ("decode", "serve") if name in signatures), first)


def data_of(signature: Mapping) -> str:
    """What a program puts into a signature, in words."""
    named = {"images": "pixels", "frames": "pixels", "audio": "samples"}
    return next((named[key] for key in signature["inputs"] if key in named), "token ids")


def program(title: str, language: str, code: str, manifest: Mapping, how: str = "") -> str:
    """A program under its title. `<NAME>` in its code is the main signature, `<DATA>` what goes
    into it, `<MODEL>` the model's file.

    Args:
        how: what to install, before the program.
    """
    name = main_signature(manifest)
    values = {
        "NAME": name,
        "DATA": data_of(manifest["signatures"][name]),
        "MODEL": manifest["model"],
    }
    for key, value in values.items():
        code = code.replace(f"<{key}>", value)
    fenced = f"```{language}\n{code.strip()}\n```"
    return "\n\n".join(part for part in (f"### {title}", how, fenced) if part)


def runtime_code(manifest: Mapping) -> str:
    """Python with modelzoo's runtime; "" for a format that it does not run."""
    engine = ENGINES.get(engine_of(manifest))
    if engine is None:
        return ""
    call = manifest.get("example") or _RUN_BY_NAME
    wheel = f'"{WHEEL}[chat]"' if ".chat(" in call else WHEEL
    code = ("import numpy as np\n" if "np." in call else "") + _PYTHON.replace("<CALL>", call)
    how = (
        f"`pip install {wheel}` (numpy, tokenizers and {engine.package}; no Keras). "
        "`python -m build --wheel` in a checkout of modelzoo writes that file."
    )
    return program("Python, with modelzoo", "python", code, manifest, how)


_PYTHON = """
from modelzoo.runtime import load

model = load(".")
<CALL>
"""

_RUN_BY_NAME = """\
info = model.engine.signatures["<NAME>"].inputs
inputs = {key: np.zeros(tensor.shape, tensor.dtype) for key, tensor in info.items()}
for key, value in model.engine.run("<NAME>", inputs).items():
    print(key, value.shape)"""
