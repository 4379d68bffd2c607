"""Problems that a model solves: raw data in, head, loss, metrics, an answer that a person reads."""
