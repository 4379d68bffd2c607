"""A stranger's model file is checked before this process opens it, and tried in a child first."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from modelzoo.cli import main
from modelzoo.errors import BundleError
from modelzoo.runtime.bundle import Bundle, read_bundle, write_manifest
from modelzoo.runtime.engines.opening import open_engine
from modelzoo.runtime.engines.packed import PackedEngine, check_packed
from modelzoo.runtime.trust import check, examine, seen, trial
from modelzoo.runtime.trust.flatbuffer import Damaged, Flatbuffer
from modelzoo.runtime.trust.tflite import check_litertlm, check_tflite
from modelzoo.runtime.user_cache import VARIABLE

PACKAGE = "ai-edge-litert"
POSIX = pytest.mark.skipif(os.name != "posix", reason="limits and fork are POSIX")


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """A cache of this test's own; nothing is known."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache" / "trust"


@pytest.fixture
def bundle(tiny, tmp_path) -> Path:
    return tiny.bundle("classes", tmp_path / "b")


@pytest.fixture
def trials(monkeypatch) -> list:
    """The jobs that a child was started for; the child is not."""
    jobs = []

    def run(module, *, input, timeout):
        jobs.append(json.loads(input))
        return examine.child_process.Ended(0, b"null", "")

    monkeypatch.setattr(examine.child_process, "run", run)
    return jobs


def rewritten(bundle: Path, data: bytes) -> Path:
    """The bundle with another model file, whose hash is right."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / manifest["model"]).write_bytes(data)
    (bundle / "manifest.json").unlink()
    write_manifest(bundle, {k: v for k, v in manifest.items() if k != "files"})
    return bundle


# === What is checked when ===


def test_a_model_is_tried_once_and_then_known(bundle, cache, trials):
    for _ in range(2):
        open_engine(read_bundle(bundle))
    assert len(trials) == 1
    (name,) = cache.iterdir()
    assert name.name.endswith(f"-checked-{seen.CHECKS}-{PACKAGE}-{metadata.version(PACKAGE)}")
    shutil.rmtree(cache)
    open_engine(read_bundle(bundle))
    assert len(trials) == 2


def test_a_trusted_model_is_neither_checked_nor_remembered(bundle, cache, trials):
    open_engine(read_bundle(bundle), trust=True)
    assert trials == []
    assert not cache.exists()


def test_what_this_user_exported_is_known(bundle, cache, trials):
    seen.remember_exported(read_bundle(bundle).manifest)
    open_engine(read_bundle(bundle))
    assert trials == []


def test_the_start_of_a_known_bundle_does_not_import_what_only_checks_need(bundle, cache):
    seen.remember_exported(read_bundle(bundle).manifest)
    code = "import sys; from modelzoo.runtime import load; load(sys.argv[1]); "
    code += "print({'importlib.metadata', 'logging', 'modelzoo.child_process'} & {*sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code, bundle], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"


def test_other_bytes_another_engine_or_stricter_checks_are_not_known(bundle, cache, monkeypatch):
    manifest = read_bundle(bundle).manifest
    seen.remember_checked(manifest, PACKAGE)
    assert seen.is_known(manifest, PACKAGE)
    assert not seen.is_known(manifest, "numpy")
    other = {**manifest, "files": {**manifest["files"], manifest["model"]: "0" * 64}}
    assert not seen.is_known(other, PACKAGE)
    notes = {**manifest, "files": {**manifest["files"], "README.md": "0" * 64}}
    assert seen.is_known(notes, PACKAGE)
    monkeypatch.setattr(seen, "CHECKS", "2")
    assert not seen.is_known(manifest, PACKAGE)


def test_every_file_of_a_directory_counts(cache):
    manifest = {"model": "saved_model", "files": {"saved_model/a": "1", "saved_models": "1"}}
    seen.remember_exported(manifest)
    assert seen.is_known({**manifest, "files": {"saved_model/a": "1"}}, PACKAGE)
    assert not seen.is_known({**manifest, "files": {"saved_model/a": "2"}}, PACKAGE)
    more = {**manifest["files"], "saved_model/b": "1"}
    assert not seen.is_known({**manifest, "files": more}, PACKAGE)


def test_a_home_that_cannot_be_written_is_only_slower(bundle, tmp_path, monkeypatch, trials):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "file"))
    for _ in range(2):
        engine = open_engine(read_bundle(bundle), weight_cache=True)
    assert len(trials) == 2 and engine.packed.cache == "none"


@POSIX
def test_a_cache_that_others_may_write_is_not_believed(bundle, cache):
    manifest = read_bundle(bundle).manifest
    seen.remember_exported(manifest)
    assert seen.is_known(manifest, PACKAGE)
    cache.chmod(0o777)
    assert not seen.is_known(manifest, PACKAGE)


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, "/c")
    assert seen.directory() == Path("/c/trust")
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    monkeypatch.setattr(sys, "platform", "linux")
    assert seen.directory() == Path("/x/modelzoo/trust")
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(Path, "home", lambda: Path("/h"))
    assert seen.directory() == Path("/h/Library/Caches/modelzoo/trust")
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", "/w")
    assert seen.directory() == Path("/w/modelzoo/trust")


@pytest.mark.parametrize("command", ["run", "bench", "verify", "search"])
def test_commands_have_trust(command, capsys):
    assert main([command, "--help"]) == 0
    assert "--trust" in capsys.readouterr().out


# === The trial ===


def test_the_child_loads_and_runs_every_signature(tiny, tmp_path, cache):
    bundle = read_bundle(tiny.bundle("decoder", tmp_path / "b"))
    check.check(bundle, "litert", PACKAGE)
    assert len(list(cache.iterdir())) == 1


CRASHES = {
    "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)": r"crashes \(SIGSEGV\)",
    "raise ValueError('of the engine')": "fails .*ValueError: of the engine",
    "import time; time.sleep(60)": "did not come to an end within 2 s",
    "x = [bytearray(1 << 28) for _ in range(99)]": "fails .*MemoryError",
    "file = open('large', 'wb'); file.truncate(1 << 40)": "crashes .SIGXFSZ|fails .*too large",
}


@POSIX
@pytest.mark.parametrize("code", CRASHES)
def test_whatever_ends_the_child_is_an_error_here(bundle, cache, tmp_path, monkeypatch, code):
    site = tmp_path / "site"
    site.mkdir()
    # What the engine would be is this file.
    (site / "ai_edge_litert.py").write_text(code)
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    monkeypatch.setattr(examine, "SECONDS", 2.0 if "sleep" in code else 60.0)
    with pytest.raises(BundleError, match=CRASHES[code]) as caught:
        check.check(read_bundle(bundle), "litert", PACKAGE)
    assert "--trust" in str(caught.value)
    assert not cache.exists()


def test_the_engine_s_own_error_is_passed_on(bundle, cache):
    data = bytearray((bundle / "model.tflite").read_bytes())
    # The version of the schema: nothing that the structure depends on.
    root = struct.unpack_from("<I", data)[0]
    table = root - struct.unpack_from("<i", data, root)[0]
    data[root + struct.unpack_from("<H", data, table + 4)[0]] = 99
    with pytest.raises(BundleError, match="LiteRT cannot load the model"):
        check.check(read_bundle(rewritten(bundle, bytes(data))), "litert", PACKAGE)


# === Damaged TFLite files ===


def mutated(data: bytes, seed: int) -> bytes:
    """The file with some bytes changed, copied elsewhere, or cut off."""
    rng, b = random.Random(seed), bytearray(data)
    kind = rng.randrange(5)
    if kind == 0:
        for _ in range(rng.randint(1, 8)):
            b[rng.randrange(len(b))] = rng.randrange(256)
    elif kind == 1:
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(b) // 4) * 4
            values = (0, 1, 2**31 - 1, 2**31, 2**32 - 1, rng.randrange(2**32), rng.randrange(300))
            b[at : at + 4] = rng.choice(values).to_bytes(4, "little")
    elif kind == 2:
        del b[rng.randrange(len(b)) :]
    elif kind == 3:
        size = rng.randint(1, 64)
        at, to = rng.randrange(len(b) - size), rng.randrange(len(b) - size)
        b[to : to + size] = b[at : at + size]
    else:
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(b))
            b[at] = (b[at] + rng.choice([-1, 1, 4, -4])) % 256
    return bytes(b)


def ended_in_a_fork(bundle: Bundle) -> str:
    """How a trial ends that shares this process's imports: it takes a tenth of the time."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            for stream in (1, 2):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
            trial.bound(10, 1 << 30)  # what this process has in memory already counts too
            signal.alarm(10)
            trial.try_model(bundle, "litert")
            code = 0
        finally:
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    return signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else str(status >> 8)


@POSIX
@pytest.mark.slow
@pytest.mark.parametrize("name", ["decoder", "classes", "recurrent"])
def test_300_mutated_files_are_errors_or_answers(tiny, tmp_path, name):
    bundle = read_bundle(tiny.bundle(name, tmp_path / "b"))
    data = bundle.model_path.read_bytes()
    ends: dict[str, int] = {}
    for seed in range(100):
        rewritten(bundle.directory, mutated(data, seed))
        try:
            check_tflite(bundle.model_path)
            end = ended_in_a_fork(bundle)
        except BundleError:
            end = "refused"
        if end == "0":  # then it runs here too
            engine = open_engine(read_bundle(bundle.directory), trust=True)
            for signature, info in engine.signatures.items():
                engine.run(signature, trial._zeros(info))
        ends[end] = ends.get(end, 0) + 1
    # Most of what remains changes a weight. No more than a handful gets as far as a crash.
    assert ends["refused"] >= 30, ends
    assert ends["0"] >= 10, ends
    assert sum(ends.values()) - ends["refused"] - ends["0"] <= 8, ends


def test_mutated_files_are_refused_or_pass_in_milliseconds(tiny, tmp_path):
    path = tmp_path / "model.tflite"
    data = (tiny.directory / "decoder.tflite").read_bytes()
    refused = 0
    for seed in range(300):
        path.write_bytes(mutated(data, seed))
        try:
            check_tflite(path)
        except BundleError as error:
            assert "the model file is damaged" in error.what
            refused += 1
    assert 100 < refused < 290


def test_weights_are_not_looked_at(tiny, tmp_path):
    data, path = (tiny.directory / "classes.tflite").read_bytes(), tmp_path / "model.tflite"
    # 3 GB that take no room on the disk: to read them would take seconds.
    with open(path, "wb") as file:
        file.write(data)
        file.truncate(3 << 30)
    check_tflite(path)


@pytest.mark.parametrize("field", ["size", "offset"])
def test_4_gb_that_only_the_header_has_are_refused(tiny, tmp_path, field):
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    data = (tiny.directory / "classes.tflite").read_bytes()
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    buffer = next(one for one in model.buffers if one.data is not None)
    buffer.data, buffer.offset, buffer.size = None, 64, 64
    setattr(buffer, field, 4 << 30)
    builder = flatbuffers.Builder(len(data))
    builder.Finish(model.Pack(builder), b"TFL3")
    (tmp_path / "model.tflite").write_bytes(builder.Output())
    with pytest.raises(BundleError, match="a buffer is outside of the file"):
        check_tflite(tmp_path / "model.tflite")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a TFLite file"),
        (b"x" * 100, "not a TFLite file"),
        (struct.pack("<I", 0xFFFFFFF0) + b"TFL3" + b"\0" * 90, "outside of the file"),
        (struct.pack("<I", 8) + b"TFL3" + struct.pack("<i", -4) + b"\0" * 90, "has no size"),
    ],
)
def test_what_is_no_tflite_file_is_named(tmp_path, data, message):
    path = tmp_path / "model.tflite"
    path.write_bytes(data)
    with pytest.raises(BundleError, match=message) as caught:
        check_tflite(path)
    assert str(path) in str(caught.value)


def litertlm(graph: bytes, size: int | None = None) -> bytes:
    """A `.litertlm` of one graph, whose header may state another size."""
    header = header_of(16384, 16384 + (len(graph) if size is None else size))
    start = b"LITERTLM" + struct.pack("<IIIIQ", 1, 0, 0, 0, 32 + len(header)) + header
    return start.ljust(16384, b"\0") + graph


def test_a_litertlm_is_checked_inside(tiny, tmp_path):
    path, graph = tmp_path / "model.litertlm", (tiny.directory / "classes.tflite").read_bytes()
    path.write_bytes(litertlm(graph))
    check_litertlm(path)
    path.write_bytes(litertlm(graph, size=1 << 40))
    with pytest.raises(BundleError, match="a section is outside of the file"):
        check_litertlm(path)
    path.write_bytes(litertlm(graph[:300]))
    with pytest.raises(BundleError, match="damaged"):
        check_litertlm(path)


def test_a_litertlm_is_tried_in_a_child_once_and_then_known(tiny, bundle, cache, trials):
    packed = litertlm((tiny.directory / "classes.tflite").read_bytes())
    found = read_bundle(rewritten(bundle, packed))
    for _ in range(2):
        check_packed(found)
    assert [job["engine"] for job in trials] == ["litert-lm-api"]
    shutil.rmtree(cache)
    check_packed(found, trust=True)
    assert len(trials) == 1 and not cache.exists()


def test_the_child_runs_the_graph_inside_of_a_litertlm(tiny, bundle, cache):
    plain = open_engine(read_bundle(bundle), trust=True)
    packed = litertlm((tiny.directory / "classes.tflite").read_bytes())
    found = read_bundle(rewritten(bundle, packed))
    check_packed(found)
    assert len(list(cache.iterdir())) == 1
    engine = PackedEngine(found)
    for name, info in plain.signatures.items():
        answers = plain.run(name, trial._zeros(info))
        for key, array in engine.run(name, trial._zeros(info)).items():
            np.testing.assert_array_equal(array, answers[key])


@POSIX
def test_a_litertlm_that_ends_the_child_is_an_error_here(bundle, cache, tmp_path, monkeypatch):
    (tmp_path / "ai_edge_litert.py").write_text("import os; os.abort()")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    packed = litertlm((bundle / "model.tflite").read_bytes())
    with pytest.raises(BundleError, match=r"crashes \(SIGABRT\)"):
        check_packed(read_bundle(rewritten(bundle, packed)))
    assert not cache.exists()


def header_of(begin: int, end: int) -> bytes:
    """A `.litertlm`'s header with one section, a TFLite graph."""
    import flatbuffers

    builder = flatbuffers.Builder()
    builder.StartObject(4)
    builder.PrependUint64Slot(1, begin, 0)
    builder.PrependUint64Slot(2, end, 0)
    builder.PrependUint8Slot(3, 3, 0)
    section = builder.EndObject()
    builder.StartVector(4, 1, 4)
    builder.PrependUOffsetTRelative(section)
    sections = builder.EndVector()
    builder.StartObject(1)
    builder.PrependUOffsetTRelativeSlot(0, sections, 0)
    metadata = builder.EndObject()
    builder.StartObject(2)
    builder.PrependUOffsetTRelativeSlot(1, metadata, 0)
    builder.Finish(builder.EndObject())
    return bytes(builder.Output())


def test_shared_vectors_cannot_make_a_small_file_a_large_one():
    # 2,000 vectors that begin one after another and each reach to the end.
    tables = {"Root": ["[Many"], "Many": ["[Leaf"], "Leaf": []}
    import flatbuffers

    builder = flatbuffers.Builder()
    builder.StartObject(0)
    leaf = builder.EndObject()
    builder.StartVector(4, 4000, 4)
    for _ in range(4000):
        builder.PrependUOffsetTRelative(leaf)
    leaves = builder.EndVector()
    many = []
    for _ in range(2000):
        builder.StartObject(1)
        builder.PrependUOffsetTRelativeSlot(0, leaves, 0)
        many.append(builder.EndObject())
    builder.StartVector(4, len(many), 4)
    for one in many:
        builder.PrependUOffsetTRelative(one)
    everything = builder.EndVector()
    builder.StartObject(1)
    builder.PrependUOffsetTRelativeSlot(0, everything, 0)
    builder.Finish(builder.EndObject())
    data = np.frombuffer(bytes(builder.Output()), np.uint8)
    Flatbuffer(data, "Root", tables, {})  # one vector for all is fine
    # Now each table's vector begins elsewhere, inside of the first.
    changed = data.copy()
    words = changed[: len(data) // 4 * 4].view("<u4")
    file = Flatbuffer(data, "Root", tables, {})
    at, _ = file.children(file.root, 0)
    for number, place in enumerate(file._fields(at, 0).tolist()):
        words[place // 4] += 4 * (number % 1000)
    start = int(file.targets(at[:1], 0)[1][0])
    words[start // 4 : start // 4 + 1000] = 2000
    with pytest.raises(Damaged, match="vectors overlap"):
        Flatbuffer(changed, "Root", tables, {})
