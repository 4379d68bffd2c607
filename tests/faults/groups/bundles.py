"""Bundles: the manifest, the device file with its hash right, token ids, .litertlm, SavedModel."""

from __future__ import annotations

import hashlib
import io
import json
import os
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from modelzoo import runtime
from modelzoo.runtime.bundle import MANIFEST, Bundle, read_bundle, write_manifest
from modelzoo.runtime.generation.loop import generate_tokens
from modelzoo.runtime.generation.sampling import Sampling
from modelzoo.runtime.search.gallery import read_gallery
from tests import media
from tests.faults import mutations
from tests.faults.group import Group
from tests.faults.groups import good


def _hashed(folder: Path, manifest: Any) -> None:
    """Writes a manifest as hostile as it is, with the hashes of the files as they are."""
    if isinstance(manifest, dict) and isinstance(manifest.get("files"), dict):
        for name in manifest["files"]:
            if isinstance(name, str) and "\0" not in name and (folder / name).is_file():
                content = (folder / name).read_bytes()
                manifest["files"][name] = hashlib.sha256(content).hexdigest()
    (folder / MANIFEST).write_bytes(json.dumps(manifest).encode())


def _answer(model: runtime.Model) -> None:
    """Each of the things that a bundle says it can do, once."""
    repr(model)
    if "generate" in model.abilities:
        model.generate("a rose", max_new_tokens=3)
    if "classify" in model.abilities and model.tokenizer is not None:
        model.classify("a rose")
    if "fill_mask" in model.abilities:
        model.fill_mask("a [MASK] rose")
    if "embed" in model.abilities:
        model.embed("a rose")


# === The manifest ===

_MEDIA = {
    "image-classification": {"image": media.IMAGE},
    "contrastive": {"image": media.IMAGE, "contrastive": {"loss": "softmax"}},
    "audio-classification": {"audio": media.AUDIO},
}


def _engine(task: str) -> media.Engine:
    return {
        "image-classification": media.classifier,
        "contrastive": media.comparer,
        "audio-classification": media.listener,
    }[task]().engine


def _make_manifest(random: Random, folder: Path) -> tuple[Path, str]:
    task = random.choice((*_MEDIA, "gpt", "t5"))
    if task in _MEDIA:
        good.write(folder, {"model.tflite": b"stands for a model"})
        engine = _engine(task)
        manifest = write_manifest(
            folder,
            {
                "name": "test",
                "task": task,
                "format": "tflite",
                "model": "model.tflite",
                "signatures": {name: {} for name in engine.signatures},
                "labels": ["r", "g", "b"],
                "processing": _MEDIA[task],
            },
        )
        held = ("labels", "processing")
    else:
        good.write(folder, good.files(f"{task}.tflite"))
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        manifest |= {"generation": {"temperature": 0.7, "do_sample": True}}
        manifest |= {"abilities": ["generate"]}
        held = ("tokenizer", "processing", "options", "vocab_size", "generation", "abilities")
    if random.random() < 0.6:  # in what answers depend on, and not in the list of files
        key = random.choice(held)
        manifest |= {key: mutations.damaged_value(random, {key: manifest[key]}, 1).get(key)}
    kind = random.randrange(4)
    if kind == 0:
        manifest = mutations.damaged_value(random, manifest)
    if kind == 1:
        text = json.dumps(manifest).encode()
        (folder / MANIFEST).write_bytes(mutations.damaged_text(random, text))
    else:
        (folder / MANIFEST).write_bytes(json.dumps(manifest).encode())
    return folder, task


def _use_manifest(made: tuple[Path, str]) -> None:
    folder, task = made
    if task not in _MEDIA:
        _answer(runtime.load(folder))
        return
    model = runtime.Model(read_bundle(folder), None, _engine(task))
    repr(model)
    picture = media.picture("red")
    if "classify" in model.abilities:
        model.classify(picture)
    if "embed_image" in model.abilities:
        model.embed_image(picture)
    if "embed_audio" in model.abilities:
        model.embed_audio((media.tone(440), 8000))


# === A gallery ===


def _make_gallery(random: Random, folder: Path) -> Path:
    good.write(folder, {"model.tflite": b"stands for a model"})
    names = ["a rose", "a fox", "a rose"]
    vectors = np.random.default_rng(0).integers(-127, 127, (3, 8)).astype(np.int8)
    held = random.random() < 0.5
    content = mutations.damaged_json(random, names) if held else json.dumps(names).encode()
    good.write(folder, {"gallery.json": content})
    array = mutations.damaged_npy(random, vectors, folder) if not held else good_npy(vectors)
    good.write(folder, {"gallery.npy": array})
    stated = {"names": "gallery.json", "vectors": "gallery.npy"}
    manifest = {"name": "n", "task": "text-embedding", "format": "tflite", "model": "model.tflite"}
    manifest = write_manifest(folder, {**manifest, "signatures": {}, "gallery": stated})
    if mutations.chance(random, 0.2):
        manifest |= {"gallery": mutations.damaged_value(random, stated)}
        (folder / MANIFEST).write_bytes(json.dumps(manifest).encode())
    return folder


def good_npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _use_gallery(folder: Path) -> None:
    gallery = read_gallery(read_bundle(folder))
    if gallery is not None and gallery.vectors.shape[1] == 8:
        cosines = gallery.cosines(np.ones(8, np.float32))
        assert len(cosines) == len(gallery.names) and np.isfinite(cosines).all()


# === Device files with their hash right ===


def _make_tflite(random: Random, folder: Path) -> Path:
    files = dict(good.files(random.choice(("gpt.tflite", "t5.tflite"))))
    content = files["model.tflite"]
    if random.random() < 0.6:
        content = _another_graph(random, content)
    else:
        head = random.choice((64, 4096, len(content)))
        content = mutations.damaged_bytes(random, content, head=head)
    files["model.tflite"] = content
    good.write(folder, files)
    _hashed(folder, json.loads(files[MANIFEST]))
    return folder


def _another_graph(random: Random, content: bytes) -> bytes:
    """A whole file whose graph says something else: other shapes, indices, operators, types."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for _ in range(random.choice((1, 1, 2, 4)) * mutations.chance(random)):
        graph = random.choice(model.subgraphs)
        holders = [random.choice(graph.tensors), random.choice(graph.operators), graph]
        holders += [random.choice(model.operatorCodes), random.choice(model.signatureDefs), model]
        signature = random.choice(model.signatureDefs)
        holders += [random.choice(signature.inputs), random.choice(signature.outputs)]
        holders += [random.choice(graph.operators).builtinOptions]
        holder = random.choice(holders[:2] * 3 + holders)
        if holder is not None and vars(holder):  # options that hold nothing
            _change(random, holder, random.choice(list(vars(holder))))
    builder = flatbuffers.Builder(len(content))
    try:
        builder.Finish(model.Pack(builder), b"TFL3")
    except Exception:  # the format cannot say this
        return mutations.damaged_bytes(random, content)
    return bytes(builder.Output())


def _change(random: Random, holder: Any, name: str) -> None:
    old = getattr(holder, name)
    numbers = (0, 1, 2, 3, 7, 63, 127, -1, 1000, 2**31 - 1, -(2**31))
    if isinstance(old, bool):
        setattr(holder, name, not old)
    elif isinstance(old, int):
        setattr(holder, name, random.choice((*numbers, old + 1, old - 1)))
    elif isinstance(old, np.ndarray) and old.size:
        new = old.copy()
        new[random.randrange(new.size)] = random.choice(numbers)
        shorter, longer = old[:-1], np.concatenate([old, old])
        setattr(holder, name, random.choice((new, new, new, shorter, longer)))
    elif isinstance(old, list) and old:
        new = [*old]
        if random.random() < 0.5:
            del new[random.randrange(len(new))]
        else:
            new[random.randrange(len(new))] = random.choice(old)
        setattr(holder, name, new)
    elif isinstance(old, bytes):
        setattr(holder, name, random.choice((b"", b"\xff", b"x" * 5000, old[:-1])))
    else:
        setattr(holder, name, None)


def _use_bundle(folder: Path) -> None:
    _answer(runtime.load(folder))


_LOADED: dict[tuple[int, str], runtime.Model] = {}


def _loaded(name: str, folder: Path) -> runtime.Model:
    """A good bundle, loaded once a child."""
    key = os.getpid(), name
    if key not in _LOADED:
        _LOADED[key] = runtime.load(good.write(folder / name, good.files(name)))
    return _LOADED[key]


def _make_ids(random: Random, folder: Path) -> tuple[Path, str, list, bool]:
    odd = [n for n in mutations.ODD_NUMBERS if abs(n) < 2**62]
    ids: list = [random.randrange(300) for _ in range(random.choice((1, 3, 8, 24, 25, 40)))]
    for _ in range(random.choice((0, 1, 2))):
        at = random.randrange(len(ids))
        ids[at] = random.choice((299, 300, 301, 599, 600, 601, -2, -300, *odd))
    return folder, random.choice(("gpt.tflite", "t5.tflite")), ids, random.random() < 0.5


def _use_ids(made: tuple[Path, str, list, bool]) -> None:
    folder, name, ids, raw = made
    model = _loaded(name, folder)
    if raw or name == "t5.tflite":
        signature = "decode" if name == "gpt.tflite" else "encode"
        info = model.engine.signatures[signature].inputs
        arrays = {key: np.zeros(one.shape, one.dtype) for key, one in info.items()}
        shape = info["token_ids"].shape
        ids = [min(max(token, -(2**31)), 2**31 - 1) for token in ids] * shape[1]
        arrays["token_ids"] = np.array(ids[: shape[1]], "int32").reshape(shape)
        model.engine.run(signature, arrays)
    else:
        generation = generate_tokens(model.engine.stepper(), [ids], Sampling(max_new_tokens=2))
        assert sum(1 for _ in generation) <= 2


# === .litertlm ===


@cache
def litertlm_file() -> bytes:
    """The GPT of the archive, packed as the exporter packs it."""
    import tempfile

    from litert_lm_builder.runtime.proto import llm_metadata_pb2

    from modelzoo.exporting.formats.litertlm import pack

    data = llm_metadata_pb2.LlmMetadata()
    data.max_num_tokens = 24
    data.llm_model_type.generic_model.SetInParent()
    data.stop_tokens.add().token_ids.ids.append(0)
    with tempfile.TemporaryDirectory() as folder:
        root = good.write(Path(folder), good.files("gpt.tflite"))
        pack(root / "model.tflite", root / "tokenizer.json", data, root / "m.litertlm")
        return (root / "m.litertlm").read_bytes()


def _make_litertlm(random: Random, folder: Path) -> tuple[Path, bool]:
    files = {
        "model.litertlm": litertlm_file(),
        "tokenizer.json": good.files("gpt")["tokenizer.json"],
    }
    head = random.choice((64, 1024, 20_000))
    files["model.litertlm"] = mutations.damaged_bytes(random, files["model.litertlm"], head=head)
    good.write(folder, files)
    manifest = json.loads(good.files("gpt.tflite")[MANIFEST])
    manifest |= {"format": "litertlm", "model": "model.litertlm"}
    write_manifest(folder, manifest)
    return folder, random.random() < 0.15


def _use_litertlm(made: tuple[Path, bool]) -> None:
    from modelzoo.exporting.formats.litertlm_check import run_litert_lm
    from modelzoo.runtime.engines.packed import PackedEngine, check_packed

    folder, whole = made
    bundle: Bundle = read_bundle(folder)
    if whole:
        job = {"model": str(bundle.model_path), "texts": ["a"], "prompts": [["a rose", 2]]}
        run_litert_lm({**job, "question": None, "max_new_tokens": 2})
        return
    check_packed(bundle)
    stepper = PackedEngine(bundle, window=24).stepper()
    generation = generate_tokens(stepper, [[5, 6]], Sampling(max_new_tokens=2))
    assert sum(1 for _ in generation) <= 2


# === SavedModel ===


def _make_saved_model(random: Random, folder: Path) -> Path:
    files = dict(good.files("classifier.savedmodel"))
    kind = random.randrange(8)
    if kind == 0 and mutations.chance(random):
        good.write(folder, files)
        _write_hostile(random, folder)
    else:
        names = [name for name in files if name.startswith("saved_model/")]
        victim = names[kind % len(names)] if kind < 4 else "saved_model/saved_model.pb"
        head = random.choice((256, len(files[victim])))
        files[victim] = mutations.damaged_bytes(random, files[victim], head=head)
        if mutations.chance(random, 0.1):
            del files[victim]
        good.write(folder, files)
    manifest = json.loads(files[MANIFEST])
    below = folder / "saved_model"
    found = [path.relative_to(folder).as_posix() for path in below.rglob("*") if path.is_file()]
    manifest["files"] = {
        **{name: "" for name in manifest["files"] if not name.startswith("saved_model/")},
        **dict.fromkeys(found, ""),
    }
    _hashed(folder, manifest)
    return folder


def _write_hostile(random: Random, folder: Path) -> None:
    """A SavedModel that writes a file when it is loaded, or when it is called."""
    import shutil

    import tensorflow as tf

    mark, on_load = str(folder / mutations.MARK), random.random() < 0.5
    texts = json.loads(good.files("classifier.savedmodel")[MANIFEST])["signatures"]["serve"]

    class Hostile(tf.Module):
        @tf.function
        def serve(self, **inputs):
            if not on_load:
                tf.io.write_file(mark, "x")
            return {
                key: tf.zeros(info["shape"], info["dtype"])
                for key, info in texts["outputs"].items()
            }

    class Resource(tf.saved_model.experimental.TrackableResource):
        def _create_resource(self):
            return tf.raw_ops.VarHandleOp(dtype=tf.int32, shape=[], shared_name="x")

        def _initialize(self):
            tf.io.write_file(mark, "x")

        def _destroy_resource(self):
            pass

    module = Hostile()
    if on_load:
        module.resource = Resource()
    specs = {
        key: tf.TensorSpec(info["shape"], info["dtype"], key)
        for key, info in texts["inputs"].items()
    }
    shutil.rmtree(folder / "saved_model")
    signatures = {"serve": module.serve.get_concrete_function(**specs)}
    tf.saved_model.save(module, str(folder / "saved_model"), signatures)
    (folder / mutations.MARK).unlink(missing_ok=True)


GROUPS = (
    Group("manifest", "manifest.json", _make_manifest, _use_manifest, 900, 40),
    Group("gallery", "a bundle's gallery", _make_gallery, _use_gallery, 300, 20),
    Group("tflite", "model.tflite, hash right", _make_tflite, _use_bundle, 300, 12, batch=20),
    Group("ids", "ids outside of the table", _make_ids, _use_ids, 300, 20),
    Group(
        "litertlm", ".litertlm, hash right", _make_litertlm, _use_litertlm, 120, 6, litertlm_file
    ),
)
HEAVY = (
    Group(
        "savedmodel",
        "SavedModel, hashes right",
        _make_saved_model,
        _use_bundle,
        120,
        3,
        good.keras_side,
        batch=30,
    ),
)
