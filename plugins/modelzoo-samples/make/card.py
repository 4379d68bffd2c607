"""What all samples share: training once, the bundle, its figures and its card."""

from __future__ import annotations

import json
import re
import shutil
import time
from pathlib import Path
from types import ModuleType

from benchmarks.common import markdown

BUNDLES = Path(__file__).resolve().parent.parent / "modelzoo_samples" / "bundles"
FIGURES, CARD, TOKENIZER = "figures.json", "README.md", "tokenizer.json"


def make(name: str, sample: ModuleType, folder: Path) -> Path:
    """Write the bundle of a sample into the package.

    Args:
        name: of the sample.
        sample: its module, with SUMMARY, EXAMPLE, DATA, LIMITS, `train(folder)` and
            `figures(folder, bundle)`; `gallery(folder, bundle)` where the bundle carries one.
        folder: where data and models are kept.
    """
    from modelzoo import export, load

    if not (folder / name / "model.keras").is_file():
        began = time.monotonic()
        sample.train(folder)
        minutes = round((time.monotonic() - began) / 60, 1)
        (folder / f"{name}.minutes").write_text(str(minutes))
    minutes = float((folder / f"{name}.minutes").read_text())
    work = folder / f"{name}.bundle"
    export(load(folder / name, compile=False), work, quantize="int8", force=True)
    return finish(name, sample, folder, minutes)


def finish(name: str, sample: ModuleType, folder: Path, minutes: float) -> Path:
    """Add gallery, figures and card to the exported bundle, and put it into the package."""
    from modelzoo.runtime import load as load_bundle
    from modelzoo.runtime.bundle import MANIFEST, write_manifest
    from modelzoo.runtime.search.gallery import write_gallery

    work, home = folder / f"{name}.bundle", BUNDLES / name
    if hasattr(sample, "gallery"):
        write_gallery(work, *sample.gallery(folder, load_bundle(work, trust=True)))
    rows = sample.figures(folder, load_bundle(work, trust=True))
    facts = {
        "command": f"python plugins/modelzoo-samples/make {name}",
        "minutes of training": minutes,
        "data": sample.DATA,
        "figures": rows,
    }
    (work / FIGURES).write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", "utf-8")
    exported = (work / CARD).read_text("utf-8")
    exported = exported[re.search("^A `tflite` bundle", exported, re.MULTILINE).start() :]
    (work / CARD).write_text(f"{card(name, sample, facts)}\n{exported}", "utf-8")
    words = json.loads((work / TOKENIZER).read_text("utf-8"))
    line = json.dumps(words, ensure_ascii=False, separators=(",", ":"))
    (work / TOKENIZER).write_text(line + "\n", "utf-8")  # half the bytes
    manifest = json.loads((work / MANIFEST).read_text("utf-8"))
    said = {"name": name, "summary": sample.SUMMARY, "example": sample.EXAMPLE}
    write_manifest(work, {**manifest, **said})
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(work, home)
    print(f"{home}: {sum(file.stat().st_size for file in home.iterdir()):,} bytes\n")
    print(markdown(rows))
    return home


def card(name: str, sample: ModuleType, facts: dict) -> str:
    """The first part of a bundle's README: what it is, from what, how good, and what it is not."""
    data = "\n".join(f"- {one['what']} ({one['from']}; {one['licence']})" for one in facts["data"])
    about = sample.__doc__.partition("\n\n")[2].strip()
    return f"""# samples/{name}

{sample.SUMMARY}

```bash
{sample.COMMAND}
```

{about}

## Data

{data}

## How good it is

{markdown(facts["figures"])}

All of this is data that was not trained on. Training took {facts["minutes of training"]:g} minutes
on two CPU cores that other work shared. The bundle is int8; how near it is to the float32 model
stands under [Verified](#verified). `{facts["command"]}` makes all of it again.

{sample.LIMITS}

## Licence

Apache-2.0, like modelzoo; the licences of the data are above.
"""
