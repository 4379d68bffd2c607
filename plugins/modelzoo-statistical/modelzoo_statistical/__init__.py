"""The models that came before, under the namespace statistical: n-grams and hidden Markov models.

Importing this costs nothing. The Keras classes are registered as soon as Keras is there, so that
`keras.saving.load_model` knows them.
"""

from modelzoo.keras_registration import install

install("modelzoo_statistical.serializable")
