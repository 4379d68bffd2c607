"""Importing this module registers the classes that a `.keras` file of this plugin may name."""

from modelzoo_statistical import hidden_markov, ngram_model

__all__ = ["hidden_markov", "ngram_model"]
