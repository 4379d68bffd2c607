"""Files of a bundle, of an index and of media that were altered or state more than they hold."""

from __future__ import annotations

import base64
import io
import json
import os
import struct
import threading
import tracemalloc
import zipfile
import zlib
from contextlib import contextmanager

import numpy as np
import pytest

from modelzoo.data.train_tokenizer import train_tokenizer
from modelzoo.errors import BundleError, DataError, ModelzooError, TokenizerError
from modelzoo.runtime.abilities.labels import check_numbers, labelled
from modelzoo.runtime.arrays import open_arrays, read_array
from modelzoo.runtime.bundle import Bundle, read_bundle, write_manifest
from modelzoo.runtime.engines.native_log import native_log
from modelzoo.runtime.engines.weight_store import is_whole
from modelzoo.runtime.media.images import open_image
from modelzoo.runtime.media.resampling import resample
from modelzoo.runtime.media.sounds import open_sound
from modelzoo.runtime.media.videos import open_video
from modelzoo.runtime.search.index import Index, Passage, read_vectors, write_vectors
from modelzoo.runtime.text.roles import find_roles
from modelzoo.runtime.text.tokenizer import Tokenizer


@pytest.fixture
def peak():
    """`with peak(most):` fails where the block takes more bytes than `most`."""

    @contextmanager
    def bounded(most: int):
        tracemalloc.start()
        try:
            yield
            assert tracemalloc.get_traced_memory()[1] < most
        finally:
            tracemalloc.stop()

    return bounded


# === Arrays ===


def header(text: str) -> bytes:
    text = text.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


HEADERS = [
    "{'descr': '<f4', 'fortran_order': False, 'shape': (32000000000,), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999999,), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (4,",
    "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
    "{'descr': 7, 'fortran_order': False, 'shape': (1,), }",
    "[[[[",
]


@pytest.mark.parametrize("text", HEADERS)
def test_an_array_that_states_more_than_there_is_takes_no_memory(tmp_path, text):
    raw = header(text) + b"\0" * 16
    (tmp_path / "clip.npy").write_bytes(raw)
    with pytest.raises(DataError) as caught:
        open_video(tmp_path / "clip.npy")
    assert caught.value.where == str(tmp_path / "clip.npy")
    with zipfile.ZipFile(tmp_path / "v.npz", "w") as archive:
        for name in ("version", "model", "digests", "vectors"):
            archive.writestr(f"{name}.npy", raw)
    with pytest.raises(DataError, match="the index"):
        read_vectors(tmp_path / "v.npz", "m")


def test_a_compressed_archive_is_not_unpacked(tmp_path):
    np.savez_compressed(tmp_path / "v.npz", vectors=np.zeros((1000, 1000), np.float32))
    with pytest.raises(DataError, match="compressed"), open_arrays(tmp_path / "v.npz", DataError):
        pass


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(), (0,), (3, 4), (2, 3, 4)])
def test_sound_arrays_are_what_numpy_reads(tmp_path, shape, order):
    array = np.asarray(np.arange(np.prod(shape), dtype="<i4").reshape(shape), order=order)
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "a.npz", a=array)
    np.testing.assert_array_equal(read_array(tmp_path / "a.npy", DataError), array)
    with open_arrays(tmp_path / "a.npz", DataError) as file:
        np.testing.assert_array_equal(file["a"], array)


def test_vectors_that_are_no_numbers_are_not_written_and_not_searched(tmp_path):
    path = tmp_path / "v.npz"
    with pytest.raises(ModelzooError, match="NaN or infinity: 1 of 2"):
        write_vectors(path, "m", {b"a" * 32: np.array([1, np.nan], np.float32)})
    assert not path.exists()
    with pytest.raises(ModelzooError, match="passages' vectors"):
        Index([[np.inf, 0]], [Passage("a", "b")])
    with pytest.raises(ModelzooError, match="query's vector"):
        Index([[1.0, 0]], [Passage("a", "b")]).search([np.nan, 0])


@pytest.mark.parametrize("kind", [None, "multi_label_classification", "regression"])
def test_answers_that_are_no_numbers_are_errors(kind):
    with pytest.raises(ModelzooError, match="the model's answer holds NaN"):
        labelled(np.array([0.0, np.nan], np.float32), None, None, kind)
    check_numbers(np.zeros(3), "nothing")


def test_labels_that_do_not_fit_the_logits_are_refused():
    with pytest.raises(BundleError, match="3 answers, and 2 labels"):
        labelled(np.zeros(3, np.float32), ["a", "b"], None)
    with pytest.raises(BundleError, match="problem type"):
        labelled(np.zeros(2, np.float32), None, None, "regresion")


# === Manifests ===

MANIFEST = {"name": "x", "task": "causal-lm", "format": "tflite", "model": "m", "signatures": {}}


def manifest(tmp_path, **changes) -> Bundle:
    (tmp_path / "m").write_bytes(b"model")
    written = write_manifest(tmp_path, MANIFEST)
    (tmp_path / "manifest.json").write_text(json.dumps({**written, **changes}))
    return read_bundle(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": True},
        {"labels": [1, 2]},
        {"generation": "greedy"},
        {"processing": []},
        {"problem_type": ["a"]},
        {"abilities": [[]]},
        {"signatures": {"serve": 3}},
        {"tokenizer": {"file": "m", "roles": "pad"}},
        {"tokenizer": {"file": "m", "stop_tokens": 7}},
        {"tokenizer": {"file": "m", "stop_tokens": [7]}},
    ],
)
def test_a_field_of_a_manifest_of_another_type_is_refused_by_its_name(tmp_path, changes):
    name = list(changes.get("tokenizer", changes))[-1]
    with pytest.raises(BundleError, match=name) as caught:
        manifest(tmp_path, **changes)
    assert caught.value.where == str(tmp_path / "manifest.json")


@pytest.mark.parametrize(
    "processing",
    [
        {"image": {"size": [2147483647, 4]}},
        {"image": {"size": {"a": 1}}},
        {"image": {"size": ["a/b", 4]}},
        {"image": {"size": [4]}},
        {"image": {"size": [4, 4], "interpolation": ["bicubic"]}},
        {"image": {"size": [4, 4], "resize": "crop", "resize_to": 2**31 - 1}},
        {"image": {"size": [4, 4], "fill": "a"}},
        {"audio": {"sample_rate": 16_000, "num_samples": 2**40}},
        {"video": {"num_frames": 10**9}, "image": {"size": [4, 4]}},
        {"contrastive": {"scales": {"a": []}}},
        {"contrastive": 3},
        {"caption": {"before": [[]]}},
        {"transcription": {"suppress_tokens": "a"}},
    ],
)
def test_a_processing_that_no_device_can_do_is_refused_before_memory_is_taken(tmp_path, processing):
    bundle = manifest(tmp_path, processing=processing)
    with pytest.raises(BundleError, match="processing") as caught:
        _ = bundle.processing
    assert caught.value.where == str(tmp_path / "manifest.json")


@pytest.mark.parametrize("token", [{}, [1], 1.5, float("inf"), True])
def test_a_role_is_a_token_or_an_id(token):
    with pytest.raises(TokenizerError, match="the pad token must be a token or its id"):
        find_roles({"a": 0}, {"pad": token})


# === Tokenizers ===


@pytest.fixture(scope="module")
def tokenizer_json() -> dict:
    return json.loads(train_tokenizer(["a rose is a rose"], vocab_size=300).to_str())


def test_a_part_that_makes_the_library_panic_is_a_tokenizer_error(tokenizer_json):
    damaged = {**tokenizer_json, "normalizer": {"type": "Precompiled"}}
    charsmap = struct.pack("<I", 4) + b"\xff" * 4 + b"abc"
    damaged["normalizer"]["precompiled_charsmap"] = base64.b64encode(charsmap).decode()
    with pytest.raises(TokenizerError) as caught:
        Tokenizer.from_str(json.dumps(damaged), where="t.json")
    assert caught.value.where == "t.json"


def test_a_table_that_states_more_than_it_has_is_refused_before_the_library_asks_for_it(
    tokenizer_json,
):
    charsmap = base64.b64encode(struct.pack("<I", 2**32 - 1) + b"\0" * 8).decode()
    normalizer = {"type": "Precompiled", "precompiled_charsmap": charsmap}
    with pytest.raises(TokenizerError, match="states 4,294,967,295 bytes and has 12"):
        Tokenizer.from_str(json.dumps({**tokenizer_json, "normalizer": normalizer}))


def test_a_text_that_makes_the_library_panic_is_a_tokenizer_error(tokenizer_json):
    replace = {"type": "Replace", "pattern": {"Regex": "a*"}, "content": "b"}
    with pytest.raises(TokenizerError):
        Tokenizer.from_str(json.dumps({**tokenizer_json, "normalizer": replace})).encode("rose 12")


@pytest.mark.parametrize(
    "change",
    [
        {"pre_tokenizer": {"type": "Sequence", "pretokenizers": []}},
        {"model": 3},
        {"added_tokens": {}},
    ],
)
def test_a_damaged_structure_is_a_tokenizer_error(tokenizer_json, change):
    with pytest.raises(TokenizerError):
        Tokenizer.from_str(json.dumps({**tokenizer_json, **change}))


@pytest.mark.parametrize("text", ["[" * 100_000, '{"model":' * 50_000, "", "\0"])
def test_a_text_that_is_no_tokenizer_is_one_error(text):
    with pytest.raises(TokenizerError):
        Tokenizer.from_str(text)


# === Media ===


def wave(rate: int, samples: int = 500, channels: int = 1) -> bytes:
    body = struct.pack("<HHIIHH", 1, channels, rate, rate * 2, 2, 16)
    data = np.arange(samples, dtype="<i2").tobytes()
    content = b"WAVEfmt " + struct.pack("<I", 16) + body + b"data" + struct.pack("<I", len(data))
    return b"RIFF" + struct.pack("<I", len(content) + len(data)) + content + data


@pytest.mark.parametrize("rate", [1, 99, 10_000_019, 2**31 - 1])
def test_a_rate_that_no_sound_has_is_refused(rate):
    with pytest.raises(DataError, match="samples a second"):
        open_sound(wave(rate), 16_000)


def test_an_odd_rate_takes_no_more_than_the_weights_that_it_needs(peak):
    with peak(100 << 20):
        assert len(open_sound(wave(1_000_003), 16_000)) == 8


def test_a_sound_that_becomes_too_long_is_refused_before_it_is_made(peak):
    with peak(50 << 20), pytest.raises(DataError, match="more than 200,000,000 samples"):
        open_sound(wave(100, 500_000), 48_000)


def test_a_flac_that_states_or_holds_too_much_is_refused(monkeypatch):
    soundfile = pytest.importorskip("soundfile")
    file = io.BytesIO()
    soundfile.write(file, np.zeros(5000, np.int16), 16_000, format="FLAC")
    monkeypatch.setattr("modelzoo.runtime.media.sounds._MOST_SAMPLES", 4999)
    with pytest.raises(DataError, match="more than 4,999 samples"):
        open_sound(file.getvalue(), 16_000)


def test_the_weights_of_resampling_in_parts_are_those_of_the_whole(monkeypatch):
    samples = np.sin(np.arange(5000, dtype=np.float32))
    whole = resample(samples, 44_101, 16_000)
    monkeypatch.setattr("modelzoo.runtime.media.resampling._TAPS", 1000)
    np.testing.assert_array_equal(resample(samples, 44_101, 16_000), whole)


def png(width: int, height: int) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    rows = zlib.compress(b"\0" * (1 << 16))
    head = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(2**16 + 1, 1), (1, 2**17), (20_000, 20_000), (2**31 - 1, 2)])
def test_an_image_that_is_too_large_is_refused_by_its_header(size, peak):
    with peak(50 << 20), pytest.raises(DataError):
        open_image(png(*size))


def test_a_transparent_image_is_converted_in_parts(monkeypatch):
    Image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 256, (37, 11, 4), np.uint8)
    modes = [Image.fromarray(pixels).convert(mode) for mode in ("RGBA", "LA", "P", "L", "RGB")]
    whole = [open_image(image) for image in modes]
    monkeypatch.setattr("modelzoo.runtime.media.images._BLOCK", 50)
    for image, expected in zip(modes, whole, strict=True):
        np.testing.assert_array_equal(open_image(image), expected)


def test_postscript_starts_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("subprocess.Popen", lambda *a, **k: pytest.fail("a program was started"))
    text = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
    (tmp_path / "a.png").write_bytes(text)
    with pytest.raises(DataError, match="not an image, or its format is unknown"):
        open_image(tmp_path / "a.png")


@pytest.mark.parametrize("read", [open_image, lambda path: open_sound(path, 8000), open_video])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path, read):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(DataError):
        read(tmp_path / "a.png")


# === Engines ===


def test_standard_error_stays_when_threads_hold_the_log_at_once(capfd):
    barrier = threading.Barrier(4)

    def hold() -> None:
        for _ in range(20):
            with native_log() as log:
                barrier.wait(10)
                os.write(2, b"INFO: absent\nkept\n")
                assert "kept" in log()

    before = os.fstat(2)
    threads = [threading.Thread(target=hold) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after = os.fstat(2)
    assert (before.st_dev, before.st_ino) == (after.st_dev, after.st_ino)
    written = capfd.readouterr().err
    assert written.count("kept") == 80 and "INFO" not in written


@pytest.mark.parametrize(
    "facts", ["[" * 100_000, "[" * 2000, "[]", "{}", "\0", '{"size": [], "time": 1}', "9" * 4500]
)
def test_facts_of_packed_weights_that_are_damaged_mean_that_they_are_packed_anew(tmp_path, facts):
    (tmp_path / "w.xnn").write_bytes(b"weights")
    (tmp_path / "w.json").write_text(facts)
    assert not is_whole(tmp_path / "w.xnn")
