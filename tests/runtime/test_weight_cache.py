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
from modelzoo.runtime.engines import weight_store
from modelzoo.runtime.engines.weight_cache import MEMORY, load_with_weights
from modelzoo.runtime.engines.weight_store import Store, checksum, is_whole
from modelzoo.runtime.user_cache import VARIABLE

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
    return litert.CompiledModel.from_file(model, environment=environment, options=options)

for _ in range(count):
    loaded, packed = load_with_weights(load, directory, "0123456789abcdef" * 4)
    ins = {name: loaded.create_input_buffer_by_name("serve", name)
           for name in loaded.get_signature_list()["serve"]["inputs"]}
    out = loaded.create_output_buffer_by_name("serve", "logits")
    for name, buffer in ins.items():
        buffer.write(np.arange(1, 13, dtype=np.int32)[None] % 8)
    loaded.run_by_index(loaded.get_signature_index("serve"), list(ins.values()), [out])
    print(packed.cache, out.read(3, np.float32).tobytes().hex(), flush=True)
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
    """What became of the cache, the logits bit by bit, and the log, of a process of its own."""
    process = start(model, directory)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err[-2000:]
    return (*out.split(), err)


def files(directory):
    return sorted(path.suffix for path in directory.iterdir())


def packed(directory):
    return next(directory.glob("*.xnn"))


def test_the_second_load_maps_what_the_first_has_packed(model, answer, tmp_path):
    directory = tmp_path / "a" / "b"
    first = run(model, directory)
    assert first[:2] == ("built", answer) and files(directory) == [".json", ".xnn"]
    file = packed(directory)
    assert DIGEST[:32] in file.name and is_whole(file)
    written = file.stat().st_mtime_ns
    second = run(model, directory)
    assert second[:2] == ("found", answer)
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
    assert run(model, tmp_path)[:2] == ("built", answer)
    assert is_whole(file) and files(tmp_path) == [".json", ".xnn"]
    assert run(model, tmp_path)[:2] == ("found", answer)


def test_processes_that_open_one_model_at_once_never_see_half_a_file(model, answer, tmp_path):
    processes = [start(model, tmp_path, count=6) for _ in range(3)]
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err[-2000:]
        assert out.split()[1::2] == [answer] * 6
    assert files(tmp_path) == [".json", ".xnn"] and is_whole(packed(tmp_path))


def test_a_full_disk_is_a_warning(model, answer, tmp_path):
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", tmp_path], capture_output=True
    )
    if done.returncode:
        pytest.skip("needs to mount a file system")
    try:
        tmp_path.chmod(0o700)
        *found, err = run(model, tmp_path)
        assert found == ["none", answer] and "UserWarning: packed weights are not kept" in err
        assert files(tmp_path) == []
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_no_room_that_shows_only_while_writing_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(weight_store.shutil, "copyfileobj", full)
    with pytest.warns(UserWarning, match="No space left on device"):
        assert cache_of(tmp_path) == "none"
    assert files(tmp_path) == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # told once
        assert cache_of(tmp_path) == "none"


@pytest.mark.parametrize("kind", ["a file", "below a file", "read-only", "open to others"])
def test_a_directory_that_cannot_be_used_is_a_warning(tmp_path, kind, monkeypatch):
    directory = tmp_path / "cache"
    if kind == "read-only":
        directory.mkdir()
        monkeypatch.setattr(weight_store.os, "access", lambda *_: False)  # root may write anywhere
    elif kind == "open to others":
        directory.mkdir()
        directory.chmod(0o777)
    else:
        directory.write_text("")
        directory = directory / "deep" if kind == "below a file" else directory
    with pytest.warns(UserWarning, match=r"not kept in .*cache.*the model works without"):
        assert cache_of(directory) == "none"


def test_a_read_only_directory_still_serves_what_it_holds(tmp_path, monkeypatch):
    assert cache_of(tmp_path) == "built"
    monkeypatch.setattr(weight_store.os, "access", lambda *_: False)

    def denied(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(weight_store.os, "utime", denied)
    assert cache_of(tmp_path) == "found"


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

    model, packed = load_with_weights(picky, str(tmp_path), DIGEST)
    assert model == "loaded" and packed.cache == "none" and "LiteRT" in packed.why
    assert len(loads) == 2 and files(tmp_path) == []
    with pytest.raises(FileNotFoundError):  # the load's own error, and no warning
        load_with_weights(lambda path: (tmp_path / "absent").read_bytes(), str(tmp_path), DIGEST)


def test_a_whole_file_that_the_runtime_refuses_or_rewrites_is_removed(tmp_path):
    assert cache_of(tmp_path) == "built"

    def refuse(path):
        if path != MEMORY:
            raise RuntimeError("another layout")
        return "loaded"

    model, packed = load_with_weights(refuse, str(tmp_path), DIGEST)
    assert model == "loaded" and packed.cache == "none" and files(tmp_path) == []

    assert cache_of(tmp_path) == "built"

    def rewrite(path):
        with open(path, "wb") as file:
            file.write(b"other weights")

    _, packed = load_with_weights(rewrite, str(tmp_path), DIGEST)
    assert packed.cache == "none" and packed.moved == [] and files(tmp_path) == []


def test_where_files_in_memory_do_not_exist_weights_are_packed_on_the_disk(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "memfd_create", raising=False)
    assert cache_of(tmp_path) == "built"
    assert files(tmp_path) == [".json", ".xnn"] and is_whole(packed(tmp_path))
    assert cache_of(tmp_path) == "found"
    (tmp_path / "full").mkdir()
    monkeypatch.setattr(
        weight_store.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})
    )
    with pytest.warns(UserWarning, match="MB are needed"):
        assert cache_of(tmp_path / "full") == "none"


def test_where_a_sandbox_forbids_files_in_memory_weights_are_packed_on_the_disk(
    tmp_path, monkeypatch
):
    def forbidden(name):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "memfd_create", forbidden, raising=False)
    assert cache_of(tmp_path) == "built" and is_whole(packed(tmp_path))


def test_other_models_versions_and_processors_have_other_files(tmp_path, monkeypatch):
    load_with_weights(packing, str(tmp_path), DIGEST)
    load_with_weights(packing, str(tmp_path), DIGEST[::-1])
    monkeypatch.setattr(weight_store, "_version", lambda: "9.9")
    load_with_weights(packing, str(tmp_path), DIGEST)
    monkeypatch.setattr(weight_store, "cpu_kind", lambda: "other")
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
    """A load that packs 100 kB, as LiteRT would, unless they are there."""
    if path != MEMORY and not (os.path.exists(path) and os.path.getsize(path)):
        with open(path, "wb") as file:
            file.write(b"weights " * 12_500)
    return "loaded"


def cache_of(directory, digest=DIGEST):
    model, packed = load_with_weights(packing, directory, digest)
    assert model == "loaded"
    return packed.cache


def test_facts_that_nest_without_end_do_not_match(tmp_path):
    (tmp_path / "a.xnn").write_bytes(b"x")
    (tmp_path / "a.json").write_text("[" * 100_000)
    assert not is_whole(tmp_path / "a.xnn")


# === The user's own cache ===


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The user's cache, empty, with room for two and a half models, of 100 kB each."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    place = tmp_path / "cache" / "packed"
    store = Store(place, least=1, most=250_000, quiet=True)
    monkeypatch.setattr(Store, "of", classmethod(lambda cls, directory: store))
    return place


def names(directory):
    return {path.name[:1] for path in directory.glob("*.xnn")}


def use(directory, digest, when):
    """Load and let go; the time of the last use is set, for file systems are coarse."""
    found = cache_of(True, digest * 64)
    (facts,) = directory.glob(f"{digest}*.json")
    os.utime(facts, (when, when))
    return found


def test_the_default_is_the_users_cache_and_only_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    store = Store.of(True)
    assert store.directory == tmp_path / "packed" and store.quiet
    assert store.most == 4 << 30 and store.least == 1 << 20
    assert cache_of(True) == "none" and not store.directory.exists()  # 100 kB are packed sooner
    assert Store.of(tmp_path).most is None


def test_what_was_used_least_recently_leaves(own):
    assert use(own, "a", 100) == "built" and use(own, "b", 200) == "built"
    assert use(own, "a", 300) == "found"
    assert use(own, "c", 400) == "built" and names(own) == {"a", "c"}
    assert len(files(own)) == 4
    assert [path.stat().st_mode & 0o777 for path in (own, *own.glob("*.xnn"))] == [
        0o700,
        *[0o600] * 2,
    ]


def test_what_a_process_uses_stays(own):
    _, first = load_with_weights(packing, True, "a" * 64)
    _, second = load_with_weights(packing, True, "b" * 64)
    _, third = load_with_weights(packing, True, "c" * 64)
    assert (third.cache, names(own)) == ("none", {"a", "b"}) and "more than its bound" in third.why
    del first
    assert cache_of(True, "c" * 64) == "built" and names(own) == {"b", "c"}
    assert second.cache == "built"


@pytest.mark.parametrize("kind", ["read-only", "open to others", "somebody else's", "full"])
def test_the_users_cache_is_left_out_without_a_word(own, monkeypatch, recwarn, kind):
    own.mkdir(parents=True, mode=0o700)
    if kind == "read-only":
        monkeypatch.setattr(weight_store.os, "access", lambda *_: False)
    elif kind == "open to others":
        own.chmod(0o770)
    elif kind == "full":
        usage = type("Usage", (), {"free": 1000})
        monkeypatch.setattr(weight_store.shutil, "disk_usage", lambda _: usage)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: own.stat().st_uid + 1)
    _, packed = load_with_weights(packing, True, DIGEST)
    assert packed.cache == "none" and packed.why and not recwarn.list and files(own) == []


@pytest.mark.parametrize("part", ["the directory", "the file"])
def test_weights_that_others_may_write_are_not_read(own, part):
    assert cache_of(True) == "built"
    (own if part == "the directory" else packed(own)).chmod(0o722)
    assert cache_of(True) == ("none" if part == "the directory" else "built")


def test_a_user_without_a_home_has_no_cache(monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv(VARIABLE)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("pathlib.Path.home", no_home)
    _, found = load_with_weights(packing, True, DIGEST)
    assert found.cache == "none" and "home directory" in found.why


def test_no_cache_is_one_load_in_memory():
    loads = []
    _, found = load_with_weights(loads.append, None, DIGEST)
    assert loads == [MEMORY] and (found.cache, found.pages) == ("off", "small")
