"""Model directories, unfinished trainings, and values of `[model]`. Needs Keras."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import zipfile
from pathlib import Path
from random import Random
from unittest import mock

import modelzoo
from modelzoo.building.directory import load
from modelzoo.errors import OutputError
from modelzoo.files import new_directory
from modelzoo.training.run_folder import RunFolder
from tests import small, written
from tests.faults import mutations
from tests.faults.group import Group
from tests.faults.groups import good
from tests.faults.outcome import Lost

_FAMILIES = ("gpt", "gru", "bert", "vit", "minilm", "clip")


def _zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def _make_keras(random: Random, folder: Path) -> Path:
    files = dict(good.files(random.choice(_FAMILIES)))
    with zipfile.ZipFile(io.BytesIO(files["model.keras"])) as archive:
        inner = {name: archive.read(name) for name in archive.namelist()}
    kind = random.randrange(6) if mutations.chance(random) else 0
    if kind == 0:
        files["model.keras"] = mutations.damaged_bytes(random, files["model.keras"])
    elif kind < 3:
        inner["config.json"] = mutations.damaged_json(random, json.loads(inner["config.json"]))
        files["model.keras"] = _zipped(inner)
    elif kind == 3:
        inner["config.json"] = _hostile(random, json.loads(inner["config.json"]), folder)
        files["model.keras"] = _zipped(inner)
    elif kind == 4:
        name = "model.weights.h5"
        inner[name] = mutations.damaged_bytes(random, inner[name], head=2048)
        files["model.keras"] = _zipped(inner)
    else:
        victim = random.choice([*inner, "model.weights.npz", "assets/x"])
        inner[victim] = random.choice((b"", b"x", mutations.pickle_that_runs(folder)))
        if random.random() < 0.3:
            del inner[victim]
        files["model.keras"] = _zipped(inner)
    return good.write(folder, files)


def _hostile(random: Random, config: dict, folder: Path) -> bytes:
    """A configuration that names something to call, in the place of one of its objects."""
    mark = str(folder / mutations.MARK)
    call = {
        "class_name": "function",
        "registered_name": "function",
        "config": "mkdir",
        "module": "os",
    }
    objects = (
        {"module": "os", "class_name": "mkdir", "config": {"path": mark}, "registered_name": None},
        {"module": "subprocess", "class_name": "Popen", "config": {"args": ["mkdir", mark]}},
        {"module": "builtins", "class_name": "exec", "config": f"import os; os.mkdir({mark!r})"},
        {
            "module": "keras.layers",
            "class_name": "Lambda",
            "config": {"name": "x", "function": call, "arguments": {"path": mark}},
        },
        {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": mark}},
        {
            "module": "keras.utils",
            "class_name": "get_file",
            "config": {"fname": mark, "origin": "file:///etc/passwd"},
        },
    )
    inner = random.choice(objects)
    paths = [path for path in mutations.places(config) if path[-1] == "class_name"]
    path = random.choice(paths)[:-1]
    if not path:
        return json.dumps(inner).encode()
    holder = config
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = inner
    return json.dumps(config).encode()


# === OUTPUT.training ===

_STEPS = {"train.steps": 4, "train.checkpoint_steps": 2, "train.validation_fraction": 0.0}


def _train(output: Path) -> None:
    modelzoo.train(small.recipe("gpt-tiny", **_STEPS), small.TEXTS, output, stream=io.StringIO())


def _run_folder(scratch: Path) -> Path:
    """A run whose model was never written, made once a run of the suite."""
    folder = scratch / "run"
    if not folder.exists():
        own = scratch / f"run-{os.getpid()}"
        unwritten = mock.patch("modelzoo.training.train.fill", side_effect=InterruptedError)
        with contextlib.suppress(OutputError), unwritten:
            _train(own / "model")
        with contextlib.suppress(OSError):  # another child was faster
            os.rename(own, folder)
    return folder / "model.training"


def _make_run(random: Random, folder: Path) -> Path:
    import numpy as np

    output = folder / "model"
    run = Path(shutil.copytree(_run_folder(folder.parent), f"{output}.training"))
    kind = random.randrange(5)
    if kind == 0:
        settings = json.loads((run / "run.json").read_text("utf-8"))
        (run / "run.json").write_bytes(mutations.damaged_json(random, settings))
    elif kind == 1:
        content = (run / "tokenizer.json").read_bytes()
        (run / "tokenizer.json").write_bytes(mutations.damaged_text(random, content))
    else:
        path = run / "checkpoint.npz"
        content = path.read_bytes()
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
        state = json.loads(bytes(arrays["state.json"]))
        if kind == 2:
            text = mutations.damaged_json(random, state)
            arrays["state.json"] = np.frombuffer(text, np.uint8)
            out = io.BytesIO()
            np.savez(out, **arrays)
            content = out.getvalue()
        elif kind == 3:
            content = mutations.damaged_npz(random, arrays, folder)
        else:
            content = mutations.damaged_bytes(random, content)
        path.write_bytes(content)
    return output


# === written.json, which a training leaves that was killed at its very end ===

_FACTS = {"model": "", "settings": {"recipe": {"task": "x"}, "data": "0"}, "figures": {"loss": 1.0}}


def _make_written(random: Random, folder: Path) -> Path:
    good.write(folder, {"model.keras": b"stands for a model"})
    facts = {**_FACTS, "model": hashlib.sha256(b"stands for a model").hexdigest()}
    kept = facts.pop("model") if random.random() < 0.7 else None  # else it is of another model
    content = mutations.damaged_value(random, facts) | ({"model": kept} if kept else {})
    text = json.dumps(content).encode()
    if mutations.chance(random, 0.4):
        text = mutations.damaged_text(random, text)
    good.write(folder / "run", {"written.json": text})
    return folder


def _use_written(folder: Path) -> None:
    ended = RunFolder(folder / "run").ended(folder / "model.keras")
    if ended is not None:
        assert isinstance(ended["settings"], dict)
        assert all(type(figure) in (int, float) for figure in ended["figures"].values())


# === Marks and locks, which `--force` goes by ===


def _make_marks(random: Random, folder: Path) -> tuple[Path, bool]:
    """A folder of ours with a damaged mark, at times with a file of somebody else's."""
    target = random.choice(list(written.KINDS.values()))(folder / "out")
    name = random.choice([path.name for path in target.iterdir() if path.name in _MARKS])
    content = (target / name).read_bytes()
    if name.endswith(".json") and random.random() < 0.5:
        content = mutations.damaged_json(random, json.loads(content))
    else:
        content = mutations.damaged_text(random, content)
    (target / name).write_bytes(content)
    theirs = mutations.chance(random, 0.5)
    if theirs:
        good.write(target, {random.choice(("notes.txt", "src/main.py", ".git/HEAD")): b"mine"})
    _make_lock(random, folder / ".out.modelzoo-lock")
    return target, theirs


_MARKS = ("modelzoo.json", "manifest.json", "recipe.lock.toml", "config.json")


def _make_lock(random: Random, path: Path) -> None:
    """A lock file that nobody holds, of content that no process of ours writes."""
    if mutations.chance(random, 0.5):
        path.write_bytes(random.choice((b"", b"x", b"\xff" * 100, b"9" * 5000, b"-1\n")))


def _use_marks(made: tuple[Path, bool]) -> None:
    target, theirs = made
    before = sorted(path for path in target.rglob("*") if path.is_file())
    try:
        with new_directory(target, force=True) as folder:
            (folder / "new").write_text("new")
    except OutputError:
        if sorted(path for path in target.rglob("*") if path.is_file()) != before:
            raise Lost("what was not replaced has changed") from None
        raise
    if theirs:
        raise Lost(f"somebody else's file is gone: {before}")


# === Experts ===


def _make_experts(random: Random, folder: Path) -> Path:
    experts = {"count": 4, "top_k": 2, "ffn_dim": 16, "pattern": [False, True], "capacity": 1.25}
    experts |= {"shared_dim": 8, "shared_gate": True, "balance_loss": 0.01, "jitter": 0.1}
    values = {**small.GPT, "num_layers": 2, "experts": mutations.damaged_value(random, experts)}
    if mutations.chance(random, 0.05):
        values["experts"] = mutations.odd_value(random)
    model = {key: value for key, value in values.items() if "." not in key}
    text = mutations.toml({"extends": "gpt-moe-tiny", "model": model})
    return good.write(folder, {"r.toml": text.encode()}) / "r.toml"


def _use_experts(path: Path) -> None:
    assert modelzoo.build(str(path)).count_params() > 0


# === Values of [model] ===

_VALUES = {
    "gpt-tiny": small.GPT,
    "lstm-tiny": small.LSTM,
    "bert-tiny": small.BERT,
    "t5-tiny": small.T5,
    "vit-tiny": {
        "image_size": 8,
        "patch_size": 4,
        "num_layers": 1,
        "hidden_dim": 16,
        "num_heads": 2,
    },
    "whisper-tiny": {"num_layers": 1, "num_decoder_layers": 1, "hidden_dim": 16, "num_heads": 2},
}


def _make_values(random: Random, folder: Path) -> tuple[str, dict]:
    from modelzoo import registry
    from modelzoo.recipe.schema import arguments

    name = random.choice(list(_VALUES))
    changes = dict(_VALUES[name])
    schema = list(arguments(registry.architecture(registry.recipe(name).architecture)))
    for _ in range(random.choice((1, 1, 2)) * mutations.chance(random)):
        key = random.choice(schema)
        numbers = (*mutations.ODD_NUMBERS, *mutations.ODD_FLOATS, 5, 7, 300, 100_000)
        odd = random.choice(numbers)
        changes[key] = random.choice((odd, odd, mutations.odd_value(random), [odd, odd]))
    return name, changes


def _use_values(made: tuple[str, dict]) -> None:
    name, changes = made
    assert modelzoo.build(name, **changes).count_params() > 0


GROUPS = (
    Group("keras", "model.keras", _make_keras, load, 400, 6, good.keras_side),
    Group("training", "OUTPUT.training", _make_run, _train, 200, 2, good.keras_side, batch=25),
    Group("written", "written.json", _make_written, _use_written, 300, 20),
    Group("marks", "marks and locks", _make_marks, _use_marks, 400, 20),
    Group("experts", "[model.experts]", _make_experts, _use_experts, 150, 3, good.keras_side),
    Group("values", "values of `[model]`", _make_values, _use_values, 200, 4, good.keras_side),
)
