"""Hidden Markov models by the book, in numpy and float64 (Rabiner 1989): the algorithms to hold
the Keras model against, and expectation maximisation as the other way to train it.

Letters: K states, V symbols, B sequences, T their length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from modelzoo.errors import DataError, ModelzooError


@dataclass(frozen=True)
class Chain:
    """A hidden Markov model.

    Attributes:
        initial: (K,), the probability of each first state.
        transition: (K, K), row i: of each state after state i.
        emission: (K, V), row i: of each symbol in state i.

    Raises:
        ModelzooError: shapes that do not fit, or rows that do not sum to 1.
    """

    initial: np.ndarray
    transition: np.ndarray
    emission: np.ndarray

    def __post_init__(self):
        states = len(self.initial)
        if self.transition.shape != (states, states) or self.emission.shape[:1] != (states,):
            raise ModelzooError(
                f"a chain of {states} states has a transition matrix ({states}, {states}) and an "
                f"emission matrix ({states}, V), not {self.transition.shape} and "
                f"{self.emission.shape}"
            )
        for name in ("initial", "transition", "emission"):
            value = getattr(self, name)
            if (value < 0).any() or not np.allclose(value.sum(-1), 1.0, atol=1e-5):
                raise ModelzooError(f"{name} holds a row that is no distribution")

    @property
    def num_symbols(self) -> int:
        return self.emission.shape[1]


def random_chain(states: int, symbols: int, seed: int = 0, evenness: float = 1.0) -> Chain:
    """Each distribution drawn from a symmetric Dirichlet with parameter `evenness`."""
    rng = np.random.default_rng(seed)
    return Chain(
        rng.dirichlet(np.full(states, evenness)),
        rng.dirichlet(np.full(states, evenness), states),
        rng.dirichlet(np.full(symbols, evenness), states),
    )


def sample(chain: Chain, length: int, seed: int = 0) -> np.ndarray:
    """(length,) int32 symbols that the chain gives."""
    rng = np.random.default_rng(seed)
    rows = (chain.initial[None], chain.transition, chain.emission)
    initial, transition, emission = (np.cumsum(row, axis=1) for row in rows)

    def draw(cumulative):
        at = np.searchsorted(cumulative, rng.random(), side="right")
        return min(int(at), len(cumulative) - 1)

    state, symbols = draw(initial[0]), []
    for _ in range(length):
        symbols.append(draw(emission[state]))
        state = draw(transition[state])
    return np.array(symbols, np.int32)


def forward(chain: Chain, symbols: Sequence[int]) -> tuple[np.ndarray, float]:
    """The beliefs (T, K) about the state at each place by the symbols up to it, and the log
    probability of the symbols.

    Example:
        >>> chain = Chain(np.array([0.5, 0.5]), np.eye(2), np.array([[1.0, 0.0], [0.5, 0.5]]))
        >>> beliefs, log_likelihood = forward(chain, [0, 0])
        >>> round(float(np.exp(log_likelihood)), 6)  # 0.5 * 1 + 0.5 * 0.25
        0.625
        >>> beliefs[-1].round(6).tolist()
        [0.8, 0.2]
    """
    symbols = _checked(chain, symbols)
    beliefs, scale = _forward(chain, symbols[None], np.ones((1, len(symbols)), bool))
    return beliefs[:, 0], float(_log(scale[:, 0]).sum())


def viterbi(chain: Chain, symbols: Sequence[int]) -> tuple[np.ndarray, float]:
    """The likeliest states (T,) behind the symbols, and the log probability of both together
    (Viterbi 1967).

    Example:
        >>> chain = Chain(np.array([0.6, 0.4]), np.array([[0.9, 0.1], [0.1, 0.9]]),
        ...               np.array([[0.8, 0.2], [0.2, 0.8]]))
        >>> viterbi(chain, [0, 0, 1, 1, 1])[0].tolist()
        [0, 0, 1, 1, 1]
    """
    symbols = _checked(chain, symbols)
    transition, emission = _log(chain.transition), _log(chain.emission)
    score = _log(chain.initial) + emission[:, symbols[0]]
    back = []
    for symbol in symbols[1:]:
        ways = score[:, None] + transition
        back.append(ways.argmax(0))
        score = ways.max(0) + emission[:, symbol]
    path = [int(score.argmax())]
    for best in reversed(back):
        path.append(int(best[path[-1]]))
    return np.array(path[::-1]), float(score.max())


def baum_welch(
    chain: Chain, sequences: Sequence[Sequence[int]], iterations: int = 10, rows: int = 512
) -> tuple[Chain, list[float]]:
    """Expectation maximisation from a chain on (Baum et al. 1970).

    Args:
        sequences: of symbols; those of about the same length are worked through together.
        rows: of a batch.

    Returns: the new chain, and the log likelihood of all sequences before each iteration, which
        never falls.

    Raises:
        DataError: an empty sequence, or a symbol outside the chain's.

    Example:
        >>> _, log_likelihoods = baum_welch(random_chain(2, 3), [[0, 1, 2, 1, 0, 1]], 3)
        >>> bool(np.all(np.diff(log_likelihoods) >= 0))
        True
    """
    batches = list(_batches([_checked(chain, sequence) for sequence in sequences], rows))
    history = []
    for _ in range(iterations):
        sums = [np.zeros_like(chain.initial), np.zeros_like(chain.transition)]
        sums.append(np.zeros_like(chain.emission))
        log_likelihood = 0.0
        for symbols, real in batches:
            log_likelihood += _expect(chain, symbols, real, sums)
        history.append(log_likelihood)
        old = chain.initial[None], chain.transition, chain.emission
        new = sums[0][None], sums[1], sums[2]
        initial, transition, emission = map(_normalised, new, old)
        chain = Chain(initial[0], transition, emission)
    return chain, history


def _forward(chain: Chain, symbols: np.ndarray, real: np.ndarray):
    """Beliefs (T, B, K), and what each was divided by to sum to 1 (T, B); 1 in the padding."""
    beliefs, scales = [], []
    belief = None
    for t in range(symbols.shape[1]):
        prior = chain.initial[None] if belief is None else belief @ chain.transition
        joint = prior * chain.emission.T[symbols[:, t]]
        scale = np.where(real[:, t], joint.sum(-1), 1.0)
        joint = joint / np.maximum(scale, 1e-300)[:, None]
        belief = joint if belief is None else np.where(real[:, t, None], joint, belief)
        beliefs.append(belief)
        scales.append(scale)
    return np.stack(beliefs), np.stack(scales)


def _expect(chain: Chain, symbols: np.ndarray, real: np.ndarray, sums: list) -> float:
    """Add what is expected of a batch to the sums; returns its log likelihood."""
    beliefs, scales = _forward(chain, symbols, real)
    emission = chain.emission.T
    after = np.ones_like(beliefs[0])  # of the symbols behind a place, for each state there
    moves = np.zeros_like(chain.transition)
    emitted = np.zeros_like(emission)
    for t in reversed(range(symbols.shape[1])):
        here = beliefs[t] * after * real[:, t, None]
        np.add.at(emitted, symbols[:, t], here)
        if t == 0:
            sums[0] += here.sum(0)
            break
        weight = emission[symbols[:, t]] * after / np.maximum(scales[t], 1e-300)[:, None]
        weight *= real[:, t, None]
        moves += beliefs[t - 1].T @ weight
        after = np.where(real[:, t, None], weight @ chain.transition.T, after)
    sums[1] += moves * chain.transition
    sums[2] += emitted.T
    return float(_log(scales).sum())


def _batches(sequences: list[np.ndarray], rows: int):
    """(B, T) symbols and where they are real, the padding behind them."""
    order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
    for first in range(0, len(order), rows):
        some = [sequences[i] for i in order[first : first + rows]]
        lengths = np.array([len(one) for one in some])
        real = np.arange(lengths.max()) < lengths[:, None]
        symbols = np.zeros(real.shape, np.int64)
        symbols[real] = np.concatenate(some)
        yield symbols, real


def _normalised(sums: np.ndarray, old: np.ndarray) -> np.ndarray:
    """Rows that sum to 1; of a state that is never visited nothing is learned."""
    total = sums.sum(-1, keepdims=True)
    return np.where(total > 0, sums / np.maximum(total, 1e-300), old)


def _checked(chain: Chain, symbols: Sequence[int]) -> np.ndarray:
    symbols = np.asarray(symbols, np.int64)
    if symbols.ndim != 1 or not len(symbols):
        raise DataError("a sequence needs one symbol or more")
    if symbols.min() < 0 or symbols.max() >= chain.num_symbols:
        raise DataError(f"a symbol is outside 0..{chain.num_symbols - 1}")
    return symbols


def _log(values: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(values)
