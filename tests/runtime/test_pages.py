"""Weights move into huge pages with the same bytes at the same addresses, or stay as they are."""

import mmap
import os
import sys

import numpy as np
import pytest

from modelzoo.runtime.bundle import read_bundle
from modelzoo.runtime.engines import pages, weight_cache, weight_store
from modelzoo.runtime.engines.opening import open_engine
from modelzoo.runtime.engines.pages import huge_bytes, huge_page_size, into_huge_pages, mappings_of

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="pages are moved on Linux")
PAGE = mmap.PAGESIZE
SIZE = (5 << 20) + 12345  # not a whole number of pages


@pytest.fixture
def weights(tmp_path):
    """A file of SIZE random bytes, its descriptor, and a read-only mapping of it."""
    file = tmp_path / "weights"
    file.write_bytes(np.random.default_rng(0).bytes(SIZE))
    with open(file, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as view:
        yield stream.fileno(), view, file.read_bytes()


@LINUX
def test_the_same_bytes_are_at_the_same_place(weights):
    descriptor, view, content = weights
    (mapping,) = mappings_of(descriptor)
    assert into_huge_pages(descriptor, page=2 << 20) == [mapping]
    assert view[:] == content and mappings_of(descriptor) == []  # the file is no longer mapped
    with open("/proc/self/maps") as lines:
        mine = [line for line in lines if line.startswith(f"{mapping.start:x}-")]
    assert " r--p " in mine[0]
    if huge_page_size() == 2 << 20:
        assert huge_bytes([mapping]) in (0, 2 << 20, 4 << 20)  # as many as were free


@LINUX
def test_what_is_unmapped_is_gone(weights, tmp_path):
    descriptor, view, _ = weights
    (mapping,) = into_huge_pages(descriptor, page=PAGE)
    view.close()
    with open("/proc/self/maps") as lines:
        spans = [[int(end, 16) for end in line.split()[0].split("-")] for line in lines]
    assert not any(start < mapping.end and mapping.start < end for start, end in spans)


@LINUX
def test_what_was_mapped_before_is_not_touched(weights):
    descriptor, view, content = weights
    known = mappings_of(descriptor)
    with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as second:
        (moved,) = into_huge_pages(descriptor, known, page=PAGE)
        assert moved not in known and mappings_of(descriptor) == known
        assert second[:] == view[:] == content


@LINUX
def test_a_mapping_that_may_be_written_or_is_small_stays(tmp_path):
    file = tmp_path / "weights"
    file.write_bytes(bytes(SIZE))
    with open(file, "r+b") as stream, mmap.mmap(stream.fileno(), 0):
        assert into_huge_pages(stream.fileno(), page=PAGE) == []
    with open(file, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ):
        assert into_huge_pages(stream.fileno(), page=8 << 20) == []


@LINUX
@pytest.mark.parametrize("call", ["mmap", "madvise", "mprotect", "mremap"])
def test_a_call_that_fails_leaves_the_file_mapped(weights, monkeypatch, call):
    descriptor, view, content = weights
    libc = pages._libc()

    class Failing:
        def __getattr__(self, name):
            return self._fail if name == call else getattr(libc, name)

        def _fail(self, *arguments):
            if call == "mremap":  # late: the target is unmapped already
                libc.munmap(arguments[-1], arguments[1])
            return -1 if call in ("madvise", "mprotect") else pages._FAILED

    monkeypatch.setattr(pages, "_libc", Failing)
    before = mappings_of(descriptor)
    assert into_huge_pages(descriptor, page=2 << 20) == []
    assert mappings_of(descriptor) == before and view[:] == content


@LINUX
@pytest.mark.parametrize("kind", ["pieces", "cut short", "broken"])
def test_the_file_is_read_whole_or_stays_mapped(weights, monkeypatch, kind):
    descriptor, view, content = weights
    read = os.preadv

    def reading(descriptor, buffers, offset):
        if kind == "broken":
            raise OSError(5, "Input/output error")
        if kind == "cut short" and offset:
            return 0
        return read(descriptor, [buffers[0][:100_000]], offset)

    monkeypatch.setattr(os, "preadv", reading)
    assert len(into_huge_pages(descriptor, page=PAGE)) == (kind == "pieces")
    assert view[:] == content


@LINUX
def test_short_memory_keeps_the_file_mapped(weights, monkeypatch):
    descriptor, view, content = weights
    monkeypatch.setattr(pages, "available_bytes", lambda: SIZE)
    assert into_huge_pages(descriptor, page=PAGE) == []
    assert len(mappings_of(descriptor)) == 1 and view[:] == content


def test_where_huge_pages_are_forbidden_nothing_moves(tmp_path, monkeypatch, weights):
    monkeypatch.setattr(pages, "_SYSTEM", tmp_path)
    assert huge_page_size() == 0  # not there
    (tmp_path / "enabled").write_text("always madvise [never]\n")
    (tmp_path / "hpage_pmd_size").write_text("2097152\n")
    assert huge_page_size() == 0 and into_huge_pages(weights[0]) == []
    (tmp_path / "enabled").write_text("always [madvise] never\n")
    assert huge_page_size() == (2 << 20 if sys.platform == "linux" else 0)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert huge_page_size() == 0


# === Engines ===


@pytest.fixture
def everything_moves(monkeypatch):
    """Weights of any size count as worth it, and as large as a huge page."""
    monkeypatch.setattr(pages, "huge_page_size", lambda: PAGE)
    monkeypatch.setattr(weight_store, "_LEAST", 1)


@LINUX
@pytest.mark.parametrize("kept", [True, False])
def test_logits_are_equal_bit_by_bit(tiny, tmp_path, monkeypatch, everything_moves, kept):
    bundle = read_bundle(tiny.bundle("decoder", tmp_path / "b"))
    monkeypatch.setenv("MODELZOO_CACHE", str(tmp_path / "cache"))
    if not kept:  # a file in memory is what moves
        (tmp_path / "cache").write_text("")
    plain = open_engine(bundle, 1, trust=True)
    expected = logits(plain)
    caches = ["built", "found"] if kept else ["none"]
    for cache in caches:
        engine = open_engine(bundle, 1, True, trust=True)
        assert engine.packed.cache == cache and engine.packed.moved
        spans = engine.packed.moved
        assert (logits(engine) == expected).all()
        del engine  # XNNPACK unmaps what it had mapped
        assert not any(span.start in starts() for span in spans)
    assert (logits(plain) == expected).all()


@LINUX
def test_two_models_over_one_file_and_threads(tiny, tmp_path, monkeypatch, everything_moves):
    bundle = read_bundle(tiny.bundle("decoder", tmp_path / "b"))
    monkeypatch.setenv("MODELZOO_CACHE", str(tmp_path / "cache"))
    engines = [open_engine(bundle, threads, True, trust=True) for threads in (1, 2)]
    assert [engine.packed.cache for engine in engines] == ["built", "found"]
    first, second = (engine.packed.moved for engine in engines)
    assert first and second and not {*first} & {*second}
    expected = logits(engines[0])
    assert (logits(engines[1]) == expected).all()
    del engines[0]
    assert (logits(engines[0]) == expected).all()  # the second's copy is its own


def test_pages_are_small_until_something_moves(monkeypatch):
    packed = weight_cache.Packed("found")
    assert packed.pages == "small"
    packed.moved.append(pages.Mapping(0, 100, 0))
    for held, found in ((49, "small"), (50, "huge")):
        monkeypatch.setattr(weight_cache, "huge_bytes", lambda _, held=held: held)
        assert packed.pages == found


def logits(engine):
    stepper, ids = engine.stepper(), np.array([[1]], np.int32)
    return np.stack([stepper.decode(ids, np.array([[n]], np.int32)) for n in range(6)])


def starts():
    with open("/proc/self/maps") as lines:
        return {int(line.partition("-")[0], 16) for line in lines}
