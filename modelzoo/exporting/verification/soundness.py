"""Is a bundle sound by itself? Its files, its signatures, and a run of each. No Keras needed."""

from __future__ import annotations

import os

import numpy as np

from modelzoo.errors import BundleError
from modelzoo.exporting.verification.samples import Samples, signature_calls
from modelzoo.runtime.engines.base import signatures_as_json
from modelzoo.runtime.model import load


def check_bundle(path: str | os.PathLike, trust: bool = False) -> dict:
    """Check the hashes, the signatures against the manifest, and that every output is a number.

    Args:
        trust: see `runtime.load`.

    Returns:
        The manifest.

    Raises:
        BundleError: what is wrong, and with which file, signature or output.
    """
    bundle = load(path, trust=trust)
    manifest, engine = bundle.manifest, bundle.engine
    found = signatures_as_json(engine.signatures)
    for name, promised in manifest["signatures"].items():
        for side in ("inputs", "outputs"):
            _compare(path, f"signature {name}, {side}", found[name][side], promised.get(side, {}))
    samples = Samples(bundle.tokenizer, manifest.get("vocab_size"))
    infos = {name: engine.signatures[name] for name in manifest["signatures"]}
    calls = signature_calls(infos, samples)
    name, arrays = next(calls)
    while True:
        outputs = engine.run(name, arrays)
        for key, value in outputs.items():
            if not np.isfinite(value).all():
                raise BundleError(
                    f"signature {name}: {key} is not a number (nan or infinite)",
                    where=path,
                    next_step="look at the training loss, then export it again",
                )
        try:
            name, arrays = calls.send(outputs)
        except StopIteration:
            return manifest


def _compare(path, what: str, found: dict, promised: dict) -> None:
    for key in sorted({*found, *promised}):
        if found.get(key) != promised.get(key):
            raise BundleError(
                f"{what}: {key} is {found.get(key, 'missing')} in the model and "
                f"{promised.get(key, 'missing')} in the manifest",
                where=path,
                next_step="export it again",
            )
