import errno
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from huggingface_hub import constants, file_download, hf_hub_download

from modelzoo.errors import MissingDependencyError, WeightsError
from modelzoo.weights.hub.download import download, is_hub
from tests.plugin_site import ROOT
from tests.weights.hub_server import Repository, environment, point_at, serve

LARGE_FILE = bytes(range(256)) * 48 * 1024  # 12 MiB: more than the library writes at once, 10 MiB
SMALL = {
    "config.json": b'{"model_type": "gpt2"}',
    "generation_config.json": b'{"eos_token_id": 1}',  # equal contents would be fetched once
    "tokenizer.json": b'{"model": {}}',
    "tokenizer_config.json": b'{"model_max_length": 8}',
    "special_tokens_map.json": b'{"eos_token": "</s>"}',
    "vocab.json": b'{"a": 0}',
    "merges.txt": b"#version",
    "chat_template.jinja": b"{{ messages }}",
}
NOT_READ = {
    ".gitattributes": b"",
    "spiece.model": b"sentencepiece",
    "pytorch_model.bin": b"pickle",
    "training_args.bin": b"pickle",
    "tf_model.h5": b"hdf",
    "flax_model.msgpack": b"flax",
    "onnx/model.onnx": b"onnx",
    "onnx/config.json": b"{}",
    "rust_model.ot": b"rust",
}
MODEL = {**SMALL, "model.safetensors": b"weights"}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with serve() as hub:
        point_at(hub, tmp_path, monkeypatch)
        monkeypatch.setattr(time, "sleep", lambda seconds: None)  # before it tries again
        yield hub


def refused(source: str) -> WeightsError:
    with pytest.raises(WeightsError) as caught:
        download(source)
    assert caught.value.next_step
    return caught.value


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


# === What is fetched ===


def test_only_what_is_read_is_fetched(hub):
    hub.add("acme/gpt", {**MODEL, **NOT_READ, "model.fp16.safetensors": b"the same again"})
    folder = download("hf://acme/gpt")
    assert files_of(folder) == set(MODEL) == set(hub.fetched())
    assert all((folder / name).read_bytes() == content for name, content in MODEL.items())


def test_shards_are_those_of_the_index(hub):
    shards = {f"model-0000{n}-of-00002.safetensors": b"part" * n for n in (1, 2)}
    index = {"metadata": {}, "weight_map": {f"layer.{n}": name for n, name in enumerate(shards)}}
    name = "model.safetensors.index.json"
    mine = {"config.json": b"{}", name: json.dumps(index).encode(), **shards}
    hub.add("acme/big", {**mine, "consolidated.safetensors": b"the same again"})
    assert files_of(download("hf://acme/big")) == set(mine)


def test_the_parts_of_a_sentence_transformer_bring_their_configurations(hub):
    parts = {
        "modules.json": b"[]",
        "1_Pooling/config.json": b"{}",
        "2_Normalize/config.json": b"{}",
    }
    more = {"sentence_bert_config.json": b"{}", "vocab.txt": b"[PAD]"}
    hub.add("st/minilm", {**MODEL, **parts, **more, "1_Pooling/deep/config.json": b"{}"})
    assert files_of(download("hf://st/minilm")) == {*MODEL, *parts, *more}


def test_a_card_comes_along_and_a_cache_without_one_serves_offline(hub, monkeypatch):
    hub.add("acme/gpt", {**MODEL, "README.md": b"---\nlicense: mit\n---"})
    folder = download("hf://acme/gpt")
    assert "README.md" in hub.fetched()
    (folder / "README.md").unlink()  # as modelzoo 0.1 left it
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert download("hf://acme/gpt") == folder


def test_a_sentencepiece_model_comes_where_there_is_no_other_vocabulary(hub):
    mine = {"config.json": b"{}", "spiece.model": b"pieces", "model.safetensors": b"weights"}
    hub.add("acme/t5", mine)
    assert files_of(download("hf://acme/t5")) == set(mine)


def test_branch_tag_commit_and_pull_request_each_give_their_own_files(hub):
    commits = {}
    for revision in ("main", "v2", "refs/pr/1", "feature/x"):
        files = {**MODEL, "model.safetensors": revision.encode()}
        commits[revision] = hub.add("acme/gpt", files, revision)
    asked = {"": "main", "@v2": "v2", "@refs/pr/1": "refs/pr/1", "@feature%2Fx": "feature/x"}
    asked[f"@{commits['v2']}"] = "v2"
    for suffix, revision in asked.items():
        folder = download(f"hf://acme/gpt{suffix}")
        assert folder.name == commits[revision]
        assert (folder / "model.safetensors").read_text() == revision


def test_a_gguf_file_comes_alone(hub):
    hub.add("acme/quants", {"README.md": b"", "config.json": b"{}", "a.gguf": b"a", "b.gguf": b"b"})
    path = download("hf://acme/quants/b.gguf")
    assert path.read_bytes() == b"b" and hub.fetched() == ["b.gguf"]


def test_a_safetensors_file_brings_the_small_files_beside_it(hub):
    deep = {f"text_encoder/{name}": content for name, content in MODEL.items()}
    hub.add("acme/parts", {**deep, "config.json": b"{}", "other.safetensors": b"o"}, "v1")
    path = download("hf://acme/parts@v1/text_encoder/model.safetensors")
    assert path.read_bytes() == b"weights"
    assert files_of(path.parent) == set(MODEL) and set(hub.fetched()) == set(deep)


def test_a_canonical_repository_has_no_owner(hub):
    hub.add("gpt2", MODEL)
    folder = download("hf://gpt2")
    assert download("hf://models/gpt2") == folder
    assert download("hf://gpt2@main/model.safetensors") == folder / "model.safetensors"
    assert "hf://gpt2@main/model.safetensors" in refused("hf://gpt2/model.safetensors").next_step


# === The cache ===


def test_the_second_time_all_comes_from_the_cache(hub, monkeypatch):
    hub.add("acme/gpt", {**MODEL, **NOT_READ})
    first = download("hf://acme/gpt")
    hub.requests.clear()
    assert download("hf://acme/gpt") == first
    assert [request.path for request in hub.requests] == ["/api/models/acme/gpt"]  # is main moved?
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.requests.clear()
    assert download("hf://acme/gpt") == first
    assert download("hf://acme/gpt/model.safetensors") == first / "model.safetensors"
    assert hub.requests == []


def test_a_new_commit_fetches_what_changed(hub):
    hub.add("acme/gpt", MODEL)
    download("hf://acme/gpt")
    hub.add("acme/gpt", {**MODEL, "config.json": b'{"model_type": "llama"}'})
    hub.requests.clear()
    folder = download("hf://acme/gpt")
    assert hub.fetched() == ["config.json"] and b"llama" in (folder / "config.json").read_bytes()
    assert files_of(folder) == set(MODEL)


def test_without_a_network_the_cache_is_enough(hub):
    hub.add("acme/gpt", MODEL)
    first = download("hf://acme/gpt")
    hub.status = 503
    assert download("hf://acme/gpt") == first


def test_a_cache_that_another_program_filled_serves_offline(hub, monkeypatch):
    hub.add("acme/gpt", MODEL)
    for name in MODEL:
        hf_hub_download("acme/gpt", name, endpoint=hub.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.requests.clear()
    assert files_of(download("hf://acme/gpt")) == set(MODEL)
    assert hub.requests == []


def test_offline_says_what_is_not_in_the_cache(hub, monkeypatch):
    hub.add("acme/gpt", MODEL)
    hf_hub_download("acme/gpt", "config.json", endpoint=hub.url)  # the weights are not there
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.requests.clear()
    for source in ("hf://acme/gpt", "hf://acme/other", "hf://acme/gpt/model.safetensors"):
        error = refused(source)
        assert "HF_HUB_OFFLINE is on" in error.what and "not in the cache" in error.what
        assert "the cache has" in error.next_step
    assert hub.requests == []


def test_the_environment_of_the_user_holds(hub, tmp_path):
    hub.tokens.add("secret")
    hub.repositories["acme/own"] = Repository({}, readers={"secret"})
    hub.add("acme/own", MODEL)
    code = (
        "import sys; from modelzoo.weights.hub.download import download;"
        "print(download(sys.argv[1]))"
    )

    def child(**more: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-c", code, "hf://acme/own"],
            cwd=ROOT,
            env={**environment(hub, tmp_path / "home"), **more},
            capture_output=True,
            text=True,
        )

    online = child(HF_TOKEN="secret", HF_HUB_CACHE=str(tmp_path / "elsewhere"))
    assert online.returncode == 0, online.stderr
    folder = Path(online.stdout.strip())
    assert folder.is_relative_to(tmp_path / "elsewhere") and files_of(folder) == set(MODEL)
    assert "Fetching 9 files: 100%" in online.stderr
    hub.requests.clear()
    offline = child(HF_HUB_OFFLINE="1", HF_HUB_CACHE=str(tmp_path / "elsewhere"))
    assert offline.stdout == online.stdout and hub.requests == []


# === Interruptions ===


def test_a_connection_that_breaks_is_taken_up_where_it_broke(hub):
    hub.add("acme/gpt", {**SMALL, "model.safetensors": LARGE_FILE})
    hub.cuts["model.safetensors"] = [11 * 2**20]
    folder = download("hf://acme/gpt")
    assert (folder / "model.safetensors").read_bytes() == LARGE_FILE
    ranges = [request.range for request in hub.requests if request.at == "store"]
    assert ranges == [None, "bytes=10485760-"]


def test_after_a_break_for_good_whole_files_are_kept_and_no_half_one(hub, tmp_path):
    hub.add("acme/gpt", {**SMALL, "model.safetensors": LARGE_FILE})
    hub.cuts["model.safetensors"] = [11 * 2**20] + [0] * 6  # as often as the library tries again
    error = refused("hf://acme/gpt")
    assert "failed" in error.what and "run it again" in error.next_step
    left = files_of(tmp_path / "hub")
    assert not any(name.endswith((".incomplete", ".safetensors")) for name in left)
    kept = {name for name in SMALL if any(Path(path).name == name for path in left)}
    hub.requests.clear()
    folder = download("hf://acme/gpt")
    assert set(hub.fetched()) == {"model.safetensors", *SMALL} - kept
    assert (folder / "model.safetensors").read_bytes() == LARGE_FILE


def test_a_full_disk_is_named(hub, tmp_path, monkeypatch):
    def full(*_args, **_named):
        raise OSError(errno.ENOSPC, "No space left on device")

    hub.add("acme/gpt", MODEL)
    with monkeypatch.context() as patch:
        patch.setattr(file_download, "http_get", full)
        error = refused("hf://acme/gpt")
    assert error.what == f"no space left for acme/gpt in the cache {tmp_path / 'hub'}"
    assert "HF_HUB_CACHE" in error.next_step
    assert files_of(download("hf://acme/gpt")) == set(MODEL)


def test_a_cache_that_is_no_folder_is_named(hub, tmp_path):
    (tmp_path / "hub").write_text("a file")
    hub.add("acme/gpt", MODEL)
    error = refused("hf://acme/gpt")
    assert f"the cache {tmp_path / 'hub'} cannot be used" in error.what


# === Logins ===


@pytest.fixture
def private(hub):
    hub.tokens |= {"good", "other"}
    hub.repositories["acme/own"] = Repository({}, readers={"good"})
    hub.add("acme/own", MODEL)
    return hub


def test_a_private_repository_is_as_good_as_none_without_its_token(private, monkeypatch):
    for token in (None, "other"):
        if token:
            monkeypatch.setenv("HF_TOKEN", token)
        error = refused("hf://acme/own")
        assert "no model acme/own, or it is private" in error.what
        assert "hf auth login" in error.next_step and "HF_TOKEN" in error.next_step
        assert str(refused("hf://acme/none")).replace("none", "own") == str(error)


def test_a_token_opens_it_and_does_not_leave_the_hub(private, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "good")
    download("hf://acme/own")
    seen = {(request.at, request.authorization) for request in private.requests}
    assert seen == {("hub", "Bearer good"), ("store", None)}


def test_a_stored_login_opens_it(private, tmp_path):
    (tmp_path / "token").write_text("good\n")
    assert files_of(download("hf://acme/own")) == set(MODEL)


def test_a_token_that_does_not_exist_is_refused_by_name(private, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "revoked")
    error = refused("hf://acme/own")
    assert "does not take this token: Invalid credentials" in error.what
    assert "revoked" not in str(error)


def test_a_gated_repository_says_where_its_terms_are(hub, monkeypatch):
    hub.tokens |= {"good", "other"}
    hub.repositories["acme/gemma"] = Repository({}, readers={"good"}, gated=True)
    hub.add("acme/gemma", MODEL)
    for token in (None, "other"):
        if token:
            monkeypatch.setenv("HF_TOKEN", token)
        error = refused("hf://acme/gemma")
        assert "acme/gemma is gated" in error.what
        assert f"accept them at {hub.url}/acme/gemma, then `hf auth login`" in error.next_step
    monkeypatch.setenv("HF_TOKEN", "good")
    assert files_of(download("hf://acme/gemma")) == set(MODEL)


# === What is not there ===


def test_a_mistyped_revision_suggests_the_real_one(hub):
    hub.add("acme/gpt", MODEL)
    hub.add("acme/gpt", MODEL, "release-2")
    error = refused("hf://acme/gpt@relaese-2")
    assert error.what == "acme/gpt has no revision relaese-2"
    assert error.did_you_mean == "hf://acme/gpt@release-2"
    assert "no revision" in refused(f"hf://acme/gpt@{'0' * 40}").what


def test_a_mistyped_file_suggests_the_real_one(hub):
    hub.add("acme/quants", {"m-Q4_0.gguf": b"4", "m-Q8_0.gguf": b"8"})
    error = refused("hf://acme/quants/m-q4_O.gguf")
    assert error.did_you_mean == "hf://acme/quants/m-Q4_0.gguf"
    assert "m-Q8_0.gguf" in error.next_step
    assert hub.fetched() == []


@pytest.mark.parametrize(
    ("files", "what", "next_step"),
    [
        ({"pytorch_model.bin": b"p"}, "but pytorch_model.bin: reading that can", "save_pretrained"),
        ({"model.pt": b"p", "model.h5": b"h"}, "but model.pt:", "hf://acme/x@refs/pr/N"),
        ({"a-Q4.gguf": b"", "b.gguf": b""}, "but a-Q4.gguf, b.gguf", "hf://acme/x/a-Q4.gguf"),
        ({"unet/m.safetensors": b""}, "but unet/m.safetensors", "hf://acme/x/unet/m.safetensors"),
        (
            {"a.safetensors": b"", "b.safetensors": b""},
            "but a.safeten",
            "hf://acme/x/a.safetensors",
        ),
        ({"adapter_config.json": b"", "adapter_model.safetensors": b""}, "an adapter", "merge"),
        ({"model.onnx": b"", "tf_model.h5": b""}, "no weights that can be read", "model.onnx"),
        ({}, "no weights that can be read", "config.json"),
        ({"model.safetensors.index.json": b"[]"}, "does not say which shards", "FILE.safetensors"),
        (
            {"model.safetensors.index.json": b'{"weight_map": {"a": "../../x", "b": "y"}}'},
            "2 of 2 shards are missing: ../../x, y",
            "tell its owner",
        ),
    ],
)
def test_a_repository_without_readable_weights_says_what_to_do(hub, files, what, next_step):
    hub.add("acme/x", {"config.json": b"{}", **files})
    error = refused("hf://acme/x")
    assert what in error.what and next_step in error.next_step
    assert not {"config.json", "pytorch_model.bin"} & set(hub.fetched())


# === No hub ===


def test_a_hub_that_is_down_says_so(hub):
    for status, what in {503: "answers 503: the house", 429: "too many requests"}.items():
        hub.status = status
        error = refused("hf://acme/gpt")
        assert hub.url in error.what and what in error.what and error.where == "hf://acme/gpt"


def test_a_hub_that_fails_in_the_middle_says_so(hub, monkeypatch):
    hub.add("acme/gpt", MODEL)
    real = file_download.http_get

    def fall(*args, **named):
        hub.status = 500
        return real(*args, **named)

    monkeypatch.setattr(file_download, "http_get", fall)
    assert "answers 500" in refused("hf://acme/gpt").what


def test_no_network_says_so(hub, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    error = refused("hf://acme/gpt")
    assert error.what.startswith("the connection to http://127.0.0.1:9 failed")
    assert "check the network" in error.next_step


def test_a_login_page_is_no_hub(hub):
    hub.status = 200
    error = refused("hf://acme/gpt")
    assert "does not answer as a hub does" in error.what and "HF_ENDPOINT" in error.next_step


def test_the_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingDependencyError) as caught:
        download("hf://acme/gpt")
    assert caught.value.next_step == 'pip install "modelzoo-keras[tensorflow]"'


# === Addresses ===


@pytest.mark.parametrize(
    "source",
    [
        "hf://",
        "hf:///",
        "hf:acme/gpt",
        "hf:/acme/gpt",
        "hf://a//b",
        "hf://@main",
        "hf://a/b@",
        "hf://a/b@x@y",
        "hf://a/b/c/d",
        "hf://a/b/../../c.gguf",
        "hf://a b/c",
        "hf://a/b?x=1",
        "hf://-a/b",
        "hf://a/b--c",
        "hf://datasets/a/b",
        "hf://a/b/model.onnx",
        "hf://a/b/pytorch_model.bin",
    ],
)
def test_a_malformed_address_is_refused_without_asking_anyone(source, hub):
    assert is_hub(source)
    error = refused(source)
    assert "hf://owner/name" in error.next_step or source.endswith(".bin")
    assert hub.requests == []


@pytest.mark.parametrize(
    ("page", "meant"),
    [
        ("https://huggingface.co/acme/gpt", "hf://acme/gpt"),
        ("https://huggingface.co/gpt2/", "hf://gpt2"),
        ("https://hf.co/acme/gpt/tree/v1", "hf://acme/gpt@v1"),
        ("https://huggingface.co/a/b/blob/main/m.gguf?download=true", "hf://a/b@main/m.gguf"),
    ],
)
def test_a_web_page_suggests_its_address(page, meant):
    assert is_hub(page)
    assert refused(page).did_you_mean == meant


def test_a_path_is_not_the_hub():
    for path in ("gpt2", "./hf", "a/b", "C:/models/gpt2", "model.safetensors", "https://a.b/c"):
        assert not is_hub(path)


def test_a_place_on_the_hub_builds_as_its_files_on_disk_do(hub, tmp_path):
    import numpy as np

    import modelzoo
    from modelzoo.weights import write_checkpoint
    from tests.weights.test_tables import made

    model = made("qwen3")
    folder = write_checkpoint(model, tmp_path / "out")
    hub.add("acme/tiny-Qwen", {path.name: path.read_bytes() for path in folder.iterdir()})
    again = modelzoo.build("hf://acme/tiny-Qwen@main", compile=False)
    assert again.recipe.name == "tiny-qwen"
    for one, other in zip(model.weights, again.weights, strict=True):
        if "seed" not in one.path:
            np.testing.assert_array_equal(one, other)


# === What comes is what the hub lists ===


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_file_with_other_bytes_of_the_same_length_is_refused_and_removed(hub, name):
    hub.add("acme/gpt", MODEL)
    hub.altered[name] = MODEL[name][:-1] + b"?"
    error = refused("hf://acme/gpt")
    assert f"{name} came with another content than acme/gpt lists" in error.what
    hub.altered.clear()
    assert (download("hf://acme/gpt") / name).read_bytes() == MODEL[name]  # fetched again
