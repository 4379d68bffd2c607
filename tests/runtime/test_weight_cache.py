"""Packed weights on the disk are whole or not used, and no disk trouble reaches the user's work."""

import json
import os
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest

from modelzoo.runtime.bundle import read_bundle
from modelzoo.runtime.engines import weight_cache
from modelzoo.runtime.engines.weight_cache import MEMORY, checksum, is_whole, load_with_weights

DIGEST = "0123456789abcdef" * 4

# Loads a model as the engine does and prints what it was loaded with and what it computes.
CODE = """
import sys
from ai_edge_litert import compiled_model as litert
import numpy as np
from modelzoo.runtime.engines.weight_cache import load_with_weights

model, directory, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
environment = litert.Environment.create()

def load(path):
    cpu = litert.CpuOptions(num_threads=1, xnnpack_weight_cache_path=path)
    options = litert.Options(cpu_options=cpu)
    print(path, flush=True)
    return litert.CompiledModel.from_file(model, environment=environment, options=options)

for _ in range(count):
    loaded = load_with_weights(load, directory, "0123456789abcdef" * 4)
    ins = {name: loaded.create_input_buffer_by_name("serve", name)
           for name in loaded.get_signature_list()["serve"]["inputs"]}
    out = loaded.create_output_buffer_by_name("serve", "logits")
    for name, buffer in ins.items():
        buffer.write(np.arange(1, 13, dtype=np.int32)[None] % 8)
    loaded.run_by_index(loaded.get_signature_index("serve"), list(ins.values()), [out])
    print([round(float(n), 4) for n in out.read(3, np.float32)], flush=True)
"""


@pytest.fixture(scope="module")
def model(tiny, tmp_path_factory):
    path = tiny.bundle("classes", tmp_path_factory.mktemp("packed") / "classes")
    return str(read_bundle(path).model_path)


@pytest.fixture(scope="module")
def answer(model, tmp_path_factory):
    return run(model, tmp_path_factory.mktemp("plain"))[1]


def start(model, directory, count=1):
    command = [sys.executable, "-c", CODE, model, str(directory), str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(model, directory):
    """The path that it was loaded with, and the logits, of a process of its own."""
    process = start(model, directory)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err[-2000:]
    path, logits = out.splitlines()
    return path, logits, err


def files(directory):
    return sorted(path.suffix for path in directory.iterdir())


def packed(directory):
    return next(directory.glob("*.xnn"))


def test_the_second_load_maps_what_the_first_has_packed(model, answer, tmp_path):
    directory = tmp_path / "a" / "b"
    first = run(model, directory)
    assert first[1] == answer and files(directory) == [".json", ".xnn"]
    file = packed(directory)
    assert DIGEST[:32] in file.name and is_whole(file)
    written = file.stat().st_mtime_ns
    second = run(model, directory)
    assert second[:2] == (str(file), answer)
    assert file.stat().st_mtime_ns == written and "UserWarning" not in first[2] + second[2]


@pytest.mark.parametrize("damage", ["cut", "empty", "bytes", "facts", "no facts", "old facts"])
def test_a_damaged_file_is_packed_anew_and_answers_stay_right(model, answer, tmp_path, damage):
    run(model, tmp_path)
    file, facts = packed(tmp_path), next(tmp_path.glob("*.json"))
    content, status = file.read_bytes(), file.stat()
    if damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "bytes":  # of the right size and time
        file.write_bytes(content[:-300] + bytes(300))
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    elif damage == "facts":
        facts.write_text('{"size": ')
    elif damage == "no facts":
        facts.unlink()
    else:
        facts.write_text(json.dumps({**json.loads(facts.read_text()), "checksum": 1}))
    assert not is_whole(file)
    path, logits, _ = run(model, tmp_path)
    assert path != str(file) and logits == answer
    assert is_whole(file) and files(tmp_path) == [".json", ".xnn"]
    assert run(model, tmp_path)[:2] == (str(file), answer)


def test_processes_that_open_one_model_at_once_never_see_half_a_file(model, answer, tmp_path):
    processes = [start(model, tmp_path, count=6) for _ in range(3)]
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err[-2000:]
        assert out.splitlines()[1::2] == [answer] * 6
    assert files(tmp_path) == [".json", ".xnn"] and is_whole(packed(tmp_path))


def test_a_full_disk_is_a_warning(model, answer, tmp_path):
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", tmp_path], capture_output=True
    )
    if done.returncode:
        pytest.skip("needs to mount a file system")
    try:
        _, logits, err = run(model, tmp_path)
        assert logits == answer and "UserWarning: packed weights are not kept" in err
        assert files(tmp_path) == []
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_no_room_that_shows_only_while_writing_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(weight_cache.shutil, "copyfileobj", full)
    with pytest.warns(UserWarning, match="No space left on device"):
        assert load_with_weights(packing, str(tmp_path), DIGEST) == "loaded"
    assert files(tmp_path) == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # told once
        assert load_with_weights(packing, str(tmp_path), DIGEST) == "loaded"


@pytest.mark.parametrize("kind", ["a file", "below a file", "read-only"])
def test_a_directory_that_cannot_be_used_is_a_warning(tmp_path, kind, monkeypatch):
    directory = tmp_path / "cache"
    if kind == "read-only":
        directory.mkdir()
        monkeypatch.setattr(weight_cache.os, "access", lambda *_: False)  # root may write anywhere
    else:
        directory.write_text("")
        directory = directory / "deep" if kind == "below a file" else directory
    loads = []
    with pytest.warns(UserWarning, match=r"not kept in .*cache.*the model works without"):
        load_with_weights(loads.append, str(directory), DIGEST)
    assert loads == [MEMORY]


def test_a_read_only_directory_still_serves_what_it_holds(tmp_path, monkeypatch):
    load_with_weights(packing, str(tmp_path), DIGEST)
    monkeypatch.setattr(weight_cache.os, "access", lambda *_: False)
    loads = []
    load_with_weights(loads.append, str(tmp_path), DIGEST)
    assert loads == [str(packed(tmp_path))]


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_load_that_fails_is_tried_without_a_file(tmp_path, monkeypatch, in_memory):
    if not in_memory:
        monkeypatch.delattr(os, "memfd_create", raising=False)
    loads = []

    def picky(path):
        loads.append(path)
        if path != MEMORY:
            raise RuntimeError("refused")
        return "loaded"

    assert load_with_weights(picky, str(tmp_path), DIGEST) == "loaded"
    assert len(loads) == 2 and files(tmp_path) == []
    with pytest.raises(FileNotFoundError):  # the load's own error, and no warning
        load_with_weights(lambda path: (tmp_path / "absent").read_bytes(), str(tmp_path), DIGEST)


def test_a_whole_file_that_the_runtime_refuses_or_rewrites_is_removed(tmp_path):
    load_with_weights(packing, str(tmp_path), DIGEST)

    def refuse(path):
        if path != MEMORY:
            raise RuntimeError("another layout")
        return "loaded"

    assert load_with_weights(refuse, str(tmp_path), DIGEST) == "loaded"
    assert files(tmp_path) == []
    load_with_weights(packing, str(tmp_path), DIGEST)
    time.sleep(0.01)  # a later time of writing
    load_with_weights(packing, str(tmp_path), DIGEST)
    assert files(tmp_path) == []


def test_where_files_in_memory_do_not_exist_weights_are_packed_on_the_disk(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "memfd_create", raising=False)
    load_with_weights(packing, str(tmp_path), DIGEST)
    assert files(tmp_path) == [".json", ".xnn"] and is_whole(packed(tmp_path))
    (tmp_path / "full").mkdir()
    monkeypatch.setattr(
        weight_cache.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})
    )
    loads = []
    with pytest.warns(UserWarning, match="MB are needed"):
        load_with_weights(loads.append, str(tmp_path / "full"), DIGEST)
    assert loads == [MEMORY]


def test_other_models_versions_and_processors_have_other_files(tmp_path, monkeypatch):
    load_with_weights(packing, str(tmp_path), DIGEST)
    load_with_weights(packing, str(tmp_path), DIGEST[::-1])
    monkeypatch.setattr(weight_cache, "_version", lambda: "9.9")
    load_with_weights(packing, str(tmp_path), DIGEST)
    monkeypatch.setattr(weight_cache, "cpu_kind", lambda: "other")
    load_with_weights(packing, str(tmp_path), DIGEST)
    assert len(list(tmp_path.glob("*.xnn"))) == 4


def test_unfinished_files_of_killed_processes_are_swept(tmp_path):
    old, young = tmp_path / "x.aaa.part", tmp_path / "x.bbb.part"
    for part in (old, young):
        part.write_text("half")
    os.utime(old, (time.time() - 7200,) * 2)
    load_with_weights(packing, str(tmp_path), DIGEST)
    assert not old.exists() and young.exists()


def test_the_checksum_looks_at_samples_of_a_large_file(tmp_path):
    file = tmp_path / "large"
    content = np.random.default_rng(0).bytes(4 << 20)
    file.write_bytes(content)
    whole = checksum(file)
    for place in (0, 5000, len(content) - 1):
        file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        assert checksum(file) != whole
    hole = (1 << 20, 1 << 18)
    file.write_bytes(content[: hole[0]] + bytes(hole[1]) + content[sum(hole) :])
    assert checksum(file) != whole


def packing(path):
    """A load that packs 100 kB, as LiteRT would."""
    if path != MEMORY:
        with open(path, "wb") as file:
            file.write(b"weights " * 12_500)
    return "loaded"


def test_facts_that_nest_without_end_do_not_match(tmp_path):
    (tmp_path / "a.xnn").write_bytes(b"x")
    (tmp_path / "a.json").write_text("[" * 100_000)
    assert not weight_cache.is_whole(tmp_path / "a.xnn")
