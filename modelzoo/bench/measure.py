"""The measuring itself, in a process that does nothing else."""

from __future__ import annotations

import itertools
import mmap
import time
from collections.abc import Callable, Mapping

from modelzoo.bench.bandwidth import read_bandwidth
from modelzoo.bench.drafts import measure_drafts
from modelzoo.bench.memory import peak_bytes, resident_bytes
from modelzoo.bench.traffic import state_bytes

HUGE = "huge"
ATTEMPTS = 3  # generations that are timed, after one that is not


def measure(path: str, threads: int, prompt_tokens: int, new_tokens: int) -> dict:
    """The figures of one number of threads: see `modelzoo.bench.report.bench`.

    The process must be fresh: load time and memory are then those of this bundle alone.
    """
    from modelzoo.runtime.bundle import read_bundle
    from modelzoo.runtime.engines.base import STEPS
    from modelzoo.runtime.engines.opening import open_engine
    from modelzoo.runtime.model import open_tokenizer

    start = time.perf_counter()
    bundle = read_bundle(path)
    checked = time.perf_counter()
    # `bench` has checked it; the cache is what `load` and `run` have.
    engine = open_engine(bundle, threads, weight_cache=True, trust=True)
    loaded = time.perf_counter()
    report = {"threads": threads, "check_s": checked - start, "load_s": loaded - checked}
    report |= weights_of(engine)

    vocab_size = bundle.manifest.get("vocab_size") or 1
    calls = {
        name: (info, some_inputs(info, vocab_size))
        for name, info in engine.signatures.items()
        if not name.startswith(STEPS)
    }
    plan = None
    if "decode" in engine.signatures:
        plan = Plan(engine, vocab_size, prompt_tokens, new_tokens)
        plan.generate()  # the first one packs weights and fills caches
    for name, (_, arrays) in calls.items():
        engine.run(name, arrays)
    # Before the bandwidth is measured, whose arrays are larger than most models.
    memory = {"resident_mb": resident_bytes(), "peak_mb": peak_bytes()}
    if plan is not None:
        report |= measure_generation(plan, threads, report.get("pages") == HUGE)
        if drafts := measure_drafts(engine, open_tokenizer(bundle), max(plan.new_tokens, 2)):
            report["drafts"] = drafts
    report |= {key: None if value is None else value / 1e6 for key, value in memory.items()}
    report["signatures"] = {
        name: latency(lambda: engine.run(name, arrays))  # noqa: B023 (called at once)
        | batch(info)
        for name, (info, arrays) in calls.items()
    }
    for values in report["signatures"].values():
        values["items_s"] = values["batch_size"] * 1e3 / values["p50_ms"]
    return report


class Plan:
    """A greedy generation of fixed length, and how long its parts take.

    Args:
        engine: with a `decode` signature.
        prompt_tokens, new_tokens: as many as asked for, or as the window has room for; the decoder
            of an encoder-decoder begins with its start token alone.
    """

    def __init__(self, engine, vocab_size: int, prompt_tokens: int, new_tokens: int):
        import numpy as np

        self.engine, self.source = engine, None
        if "encode" in engine.signatures:
            self.source = some_inputs(engine.signatures["encode"], vocab_size)
            prompt_tokens = 1
        window = engine.stepper(self.source).max_length
        if window is not None:
            new_tokens = min(new_tokens, max(1, window // 2))
            prompt_tokens = max(1, min(prompt_tokens, window - new_tokens + 1))
        self.prompt_tokens, self.new_tokens = prompt_tokens, new_tokens
        self.prompt = np.random.default_rng(0).integers(0, vocab_size, prompt_tokens).tolist()

    @property
    def middle(self) -> float:
        """Positions in the cache when half of the new tokens are there."""
        return self.prompt_tokens + (self.new_tokens - 1) / 2

    def generate(self) -> tuple[float, float, list[float]]:
        """Seconds to set the state up (an encoder runs then), to the first token from there, and
        of each token after it."""
        from modelzoo.runtime.generation.loop import generate_tokens
        from modelzoo.runtime.generation.sampling import Sampling

        times = [time.perf_counter()]
        stepper = self.engine.stepper(self.source)
        times.append(time.perf_counter())
        sampling = Sampling(max_new_tokens=self.new_tokens, speculate=False)
        run = generate_tokens(stepper, [self.prompt], sampling)
        times += [time.perf_counter() for _ in run]
        spans = [later - earlier for earlier, later in itertools.pairwise(times)]
        return spans[0], spans[1], spans[2:]


def weights_of(engine) -> dict:
    """`weight_cache`, `weight_cache_why` and `pages` of packed weights; nothing without such."""
    packed = getattr(engine, "packed", None)
    if packed is None:
        return {}
    pages = HUGE if packed.pages == "huge" else f"{mmap.PAGESIZE >> 10} KiB"
    return {"weight_cache": packed.cache, "weight_cache_why": packed.why or None, "pages": pages}


def measure_generation(plan: Plan, threads: int, huge: bool) -> dict:
    """Prefill and decode speed, with the memory bandwidth before and after: the larger counts.

    Medians for the model and the best for the machine, so the share is rather too low. `huge`:
    whether memory is read through huge pages, as the weights are.
    """
    import numpy as np

    before = read_bandwidth(threads, huge=huge)
    runs = [plan.generate() for _ in range(ATTEMPTS)]
    bandwidth = max(before, read_bandwidth(threads, huge=huge))
    set_up, first = (float(np.median([run[n] for run in runs])) for n in (0, 1))
    step = float(np.median([span for run in runs for span in run[2]] or [first]))
    report = {"prompt_tokens": plan.prompt_tokens, "new_tokens": plan.new_tokens}
    if plan.prompt_tokens > 1:
        # All but the prompt's last token are prefilled; the last one costs a decode call.
        report["prefill_tokens_s"] = (plan.prompt_tokens - 1) / max(first - step, 1e-9)
    return report | {
        "first_token_ms": (set_up + first) * 1e3,
        "decode_tokens_s": 1 / step,
        "bandwidth_gb_s": bandwidth / 1e9,
        "state_bytes": state_bytes(plan.engine.signatures, plan.middle),
    }


def some_inputs(info, vocab_size: int) -> dict:
    """Full-length inputs for a signature: random ids and numbers, nothing masked."""
    import numpy as np

    rng = np.random.default_rng(0)
    arrays = {}
    for name, tensor in info.inputs.items():
        if "mask" in name:
            arrays[name] = np.ones(tensor.shape, tensor.dtype)
        elif "token_ids" in name:
            arrays[name] = rng.integers(0, vocab_size, tensor.shape).astype(tensor.dtype)
        elif np.issubdtype(np.dtype(tensor.dtype), np.floating):
            arrays[name] = rng.normal(size=tensor.shape).astype(tensor.dtype)
        else:
            arrays[name] = np.zeros(tensor.shape, tensor.dtype)
    return arrays


def batch(info) -> Mapping[str, int]:
    """How many texts, images or sounds a call takes: what all its inputs begin with."""
    sizes = {tensor.shape[0] if tensor.shape else 1 for tensor in info.inputs.values()}
    return {"batch_size": sizes.pop() if len(sizes) == 1 else 1}


def latency(call: Callable[[], object]) -> dict[str, float]:
    """Milliseconds of a call, over twenty calls or three seconds, whichever ends first."""
    import numpy as np

    times, begin = [], time.perf_counter()
    while len(times) < 20 and (len(times) < 3 or time.perf_counter() - begin < 3):
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1e3)
    p50, p95 = np.percentile(times, [50, 95])
    return {"p50_ms": float(p50), "p95_ms": float(p95)}
