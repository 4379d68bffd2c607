"""A model that trains on one thread as a peer: the processor time of one step a round."""

from __future__ import annotations

import json
import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks.edge.peer import serve


def main(job: dict) -> None:
    import numpy as np
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    import keras

    import modelzoo

    keras.utils.set_random_seed(0)
    model = modelzoo.build(job["recipe"], **job["values"])
    draw = np.random.default_rng(0)
    size = job["rows"], job["length"] + 1

    def step() -> float:
        """Fresh tokens each time: how many choose an expert varies, as in training."""
        ids = draw.integers(5, model.backbone.vocab_size, size).astype("int32")
        began = time.process_time()
        model.train_on_batch(ids[:, :-1], ids[:, 1:])
        return time.process_time() - began

    step()  # traces it
    serve({"parameters": model.count_params()}, lambda: {"step_cpu_ms": step() * 1e3})


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
