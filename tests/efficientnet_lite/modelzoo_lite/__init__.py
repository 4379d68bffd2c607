"""EfficientNet-Lite for modelzoo, under the namespace lite."""

from modelzoo.keras_registration import install

install("modelzoo_lite.network")
