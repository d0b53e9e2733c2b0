"""Keras, imported with what its backend has to know before it starts. The project imports Keras from here only."""

import os
import sys
from types import ModuleType

from scenes.learning.numerics import settle

BACKENDS = ("tensorflow", "torch", "jax")

# TensorFlow leaves oneDNN off on processors without AVX-512, where it trains ResNet50 three times as fast all the same.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

if (_backend := os.environ.setdefault("KERAS_BACKEND", "tensorflow")) not in BACKENDS:
    sys.exit(f"error: backend: {_backend!r} is not one of {', '.join(BACKENDS)}")

# Keras imports these wherever they are installed, for wrappers, plots and other backends: a quarter of a stage's start.
_UNUSED = {"sklearn", "matplotlib", *({"jax"} - {_backend})} - sys.modules.keys()
sys.modules.update(dict.fromkeys(_UNUSED))
# It tells torch's compiler, which nothing here uses, to leave two functions alone: two seconds to load it for that.
if _backend == "torch" and "torch._dynamo" not in sys.modules:
    _compiler = ModuleType("torch._dynamo")
    _compiler.disable = lambda: lambda function: function
    sys.modules["torch._dynamo"] = _compiler
    _UNUSED.add("torch._dynamo")

settle(_backend)

import keras  # noqa: E402

for _name in _UNUSED:
    del sys.modules[_name]
from scenes.learning.functional import run_through_graph  # noqa: E402

keras.src.ops.function.Function._run_through_graph = run_through_graph
if _backend == "torch":
    from scenes.learning.torch_batch_norm import frugal

    keras.layers.BatchNormalization.call = frugal(keras.layers.BatchNormalization.call)
    # It lays out the input of each convolution and pooling anew, to and fro, and keeps the copy for the backward pass,
    # where another view of the same numbers will do.
    keras.src.backend.torch.nn._transpose_spatial_inputs = lambda inputs: inputs.movedim(-1, 1)
# It asks whether inputs are TensorFlow's, and imports TensorFlow for that: three seconds of a training for nothing,
# unless TensorFlow runs the networks.
if _backend != "tensorflow":
    keras.src.utils.module_utils.tensorflow._available = False

__all__ = ["keep_graphs_as_traced", "keras"]


def keep_graphs_as_traced() -> None:
    """Do without TensorFlow's rewriting of graphs: it takes a third of a large network's first step, and pays later."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow

        tensorflow.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
