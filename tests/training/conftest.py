"""Trainings of a few steps spend their time on tracing graphs, so most tests here run eagerly."""

from __future__ import annotations

import pytest
import tensorflow as tf


@pytest.fixture(autouse=True)
def eager():
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def graphs(eager):
    """Traced after all, as a user's training is."""
    tf.config.run_functions_eagerly(False)
