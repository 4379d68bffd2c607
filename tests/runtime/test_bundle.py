"""A bundle is read whole and unchanged, or not at all."""

import hashlib
import json

import pytest

from modelzoo.errors import BundleError
from modelzoo.runtime.bundle import is_bundle, read_bundle, sha256_file, write_manifest
from modelzoo.runtime.engines.base import SignatureInfo, TensorInfo, signatures_as_json

FIELDS = {
    "name": "x",
    "task": "causal-lm",
    "format": "tflite",
    "model": "model.tflite",
    "signatures": {},
    "tokenizer": {"file": "tokenizer.json"},
}


@pytest.fixture
def bundle(tmp_path):
    directory = tmp_path / "x.bundle"
    (directory / "extra").mkdir(parents=True)
    (directory / "model.tflite").write_bytes(bytes(range(256)) * 50)
    (directory / "tokenizer.json").write_text("{}")
    (directory / "extra" / "note.txt").write_text("a note")
    write_manifest(directory, FIELDS)
    return directory


def edit(directory, change):
    path = directory / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def test_what_was_written_is_read(bundle):
    read = read_bundle(bundle)
    assert is_bundle(bundle) and not is_bundle(bundle.parent)
    assert read.manifest["format_version"] == 1
    assert list(read.manifest["files"]) == ["extra/note.txt", "model.tflite", "tokenizer.json"]
    assert read.model_path == bundle / "model.tflite"
    assert read.tokenizer_path == bundle / "tokenizer.json"
    assert not list(bundle.glob(".*"))  # no temporary file is left


def test_writing_again_leaves_the_manifest_out_of_the_hashes(bundle):
    again = write_manifest(bundle, FIELDS)
    assert "manifest.json" not in again["files"]
    assert read_bundle(bundle).manifest == again


def test_a_tensor_of_a_signature_is_one_line_of_the_manifest(bundle):
    """L12: 120 KB for a decoder of 30 layers, and most of it line breaks."""
    shapes = {f"k_{i}": TensorInfo((1, 3, 512, 64), "float32") for i in (10, 2, 1)}
    info = SignatureInfo({**shapes, "token_ids": TensorInfo((1, 1), "int32")}, shapes)
    fields = {**FIELDS, "signatures": signatures_as_json({"decode": info}), "labels": ["ä"] * 90}
    written = write_manifest(bundle, fields)
    text = (bundle / "manifest.json").read_text("utf-8")
    assert read_bundle(bundle).manifest == json.loads(text) == written
    lines = [line.strip() for line in text.splitlines()]
    assert '"k_2": {"shape": [1, 3, 512, 64], "dtype": "float32"},' in lines
    names = [line[1:].split('"')[0] for line in lines if "shape" in line]
    assert names == ["token_ids", "k_1", "k_2", "k_10", "k_1", "k_2", "k_10"]
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize(("key", "value"), [("engine", 3), ("abilities", "generate")])
def test_an_engine_is_a_name_and_abilities_are_a_list(bundle, key, value):
    edit(bundle, lambda manifest: manifest.update({key: value}))
    with pytest.raises(BundleError, match=f"the manifest's {key} must be a (string|list)"):
        read_bundle(bundle)


def test_sha256_of_a_file(bundle):
    content = (bundle / "model.tflite").read_bytes()
    assert sha256_file(bundle / "model.tflite") == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("name", ["model.tflite", "tokenizer.json", "extra/note.txt"])
def test_missing_file_is_named(bundle, name):
    (bundle / name).unlink()
    with pytest.raises(BundleError, match=f"{name} is missing"):
        read_bundle(bundle)


@pytest.mark.parametrize("name", ["model.tflite", "tokenizer.json", "extra/note.txt"])
@pytest.mark.parametrize(
    "damage", [lambda b: b[:-1], lambda b: b"\xff" + b[1:], lambda b: b + b" "]
)
def test_truncated_and_edited_files_are_named_with_both_hashes(bundle, name, damage):
    expected = sha256_file(bundle / name)
    (bundle / name).write_bytes(damage((bundle / name).read_bytes()))
    with pytest.raises(BundleError) as error:
        read_bundle(bundle)
    for part in (name, expected, sha256_file(bundle / name)):
        assert part in str(error.value)


def test_newer_format_asks_for_an_upgrade(bundle):
    edit(bundle, lambda m: m.update(format_version=2, modelzoo="9.1"))
    with pytest.raises(BundleError, match=r"newer modelzoo \(9.1\)(.|\n)*--upgrade"):
        read_bundle(bundle)


@pytest.mark.parametrize("version", [None, "1", True, 0, 1.0])
def test_odd_format_versions_are_refused(bundle, version):
    edit(bundle, lambda m: m.update(format_version=version))
    with pytest.raises(BundleError, match="format_version"):
        read_bundle(bundle)


@pytest.mark.parametrize("text", ["", "{", "[1]", '"x"', "\ufffe"])
def test_manifest_that_is_no_json_object_is_refused(bundle, text):
    (bundle / "manifest.json").write_bytes(text.encode("utf-16-le"))
    with pytest.raises(BundleError, match="manifest"):
        read_bundle(bundle)
    (bundle / "manifest.json").write_text(text)
    with pytest.raises(BundleError, match="manifest"):
        read_bundle(bundle)


@pytest.mark.parametrize("key", ["name", "task", "format", "model", "signatures", "files"])
def test_missing_or_mistyped_field_is_named(bundle, key):
    edit(bundle, lambda m: m.update({key: 7}))
    with pytest.raises(BundleError, match=key):
        read_bundle(bundle)
    edit(bundle, lambda m: m.pop(key))
    with pytest.raises(BundleError, match=f"no '{key}'"):
        read_bundle(bundle)


@pytest.mark.parametrize(
    "name", ["../x", "/etc/passwd", "a/../../x", "..", "", ".", "..\\x", "C:\\x", "C:x", "a\0"]
)
@pytest.mark.parametrize("field", ["files", "model", "tokenizer"])
def test_names_outside_the_bundle_are_refused(bundle, name, field):
    (bundle.parent / "x").write_text("secret")

    def point_out(manifest):
        if field == "files":
            manifest["files"][name] = sha256_file(bundle.parent / "x")
        elif field == "model":
            manifest["model"] = name
        else:
            manifest["tokenizer"]["file"] = name

    edit(bundle, point_out)
    with pytest.raises(BundleError, match="outside the bundle"):
        read_bundle(bundle)


@pytest.mark.parametrize("name", ["model.tflite", "tokenizer.json"])
def test_what_is_loaded_must_have_a_hash(bundle, name):
    edit(bundle, lambda m: m["files"].pop(name))
    with pytest.raises(BundleError, match=f"no hash for.*{name}"):
        read_bundle(bundle)


def test_nothing_may_be_added_to_a_saved_model(tmp_path):
    directory = tmp_path / "x.bundle"
    (directory / "saved_model" / "variables").mkdir(parents=True)
    (directory / "saved_model" / "saved_model.pb").write_bytes(b"graph")
    (directory / "saved_model" / "variables" / "data").write_bytes(b"weights")
    fields = {**FIELDS, "format": "savedmodel", "model": "saved_model", "tokenizer": None}
    write_manifest(directory, fields)
    assert read_bundle(directory).tokenizer_path is None
    (directory / "saved_model" / "added").write_bytes(b"x")
    with pytest.raises(BundleError, match="saved_model/added is not in the manifest"):
        read_bundle(directory)


def test_what_is_no_bundle_says_so(tmp_path):
    with pytest.raises(BundleError, match="no such bundle"):
        read_bundle(tmp_path / "absent")
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="is a directory"):
        read_bundle(tmp_path / "file")
    with pytest.raises(BundleError, match="has no manifest.json"):
        read_bundle(tmp_path)
    (tmp_path / "model.keras").write_text("")
    with pytest.raises(BundleError, match="modelzoo export"):
        read_bundle(tmp_path)


def test_a_manifest_that_no_reader_would_take_is_not_written(bundle):
    with pytest.raises(BundleError, match="no 'task'"):
        write_manifest(bundle, {k: v for k, v in FIELDS.items() if k != "task"})
    with pytest.raises(BundleError, match="no hash for the model"):
        write_manifest(bundle, {**FIELDS, "model": "absent.tflite"})
    read_bundle(bundle)
