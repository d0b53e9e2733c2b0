"""Keras, imported with what its backend has to know before it starts. The project imports Keras from here only."""

import os

# TensorFlow leaves oneDNN off on processors without AVX-512, where it trains ResNet50 three times as fast all the same.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras  # noqa: E402

__all__ = ["keras"]
