"""What networks keep in memory layer by layer and for the backward pass; our batch norm against Keras' formula."""

import os
import subprocess
import sys
import weakref

import numpy as np
import pytest
from conftest import ROOT

from scenes.learning.backend import keras

COMPARED = """
import sys
import numpy as np
import torch
from scenes.learning.backend import keras

Norm, (policy, shape, axis) = keras.layers.BatchNormalization, (sys.argv[1], eval(sys.argv[2]), int(sys.argv[3]))
ours = Norm.call
keras.config.set_dtype_policy(policy)
generator = np.random.default_rng(0)
start = generator.normal(2, 3, shape).astype("float32")
numbers = generator.normal(size=(3, shape[axis]))
found = []
for call in (ours.__wrapped__, ours):
    Norm.call = call
    layer = Norm(axis=axis, momentum=0.8)
    layer.build(shape)
    for variable, values in zip((layer.gamma, layer.beta, layer.moving_mean), numbers):
        variable.assign(values)
    kept = []
    x = torch.tensor(start, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda each: kept.append(each.numel()) or each, lambda each: each):
        y = layer(x, training=True)
    (y.float() ** 3).sum().backward()
    inference = layer(x.detach(), training=False)
    arrays = (y, x.grad, layer.gamma.value.grad, layer.beta.value.grad, layer.moving_mean.value,
              layer.moving_variance.value, inference)
    found.append({str(number): array.detach().float().numpy() for number, array in enumerate(arrays)}
                 | {"kept": sum(kept), "types": str([y.dtype, inference.dtype])})
for side, arrays in zip("ab", found):
    np.savez(f"{side}.npz", **arrays)
"""


def python(code: str, *words: object) -> str:
    """What code prints in a process of its own, where Keras has torch, and torch no GPU."""
    environment = {
        **os.environ,
        "KERAS_BACKEND": "torch",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": str(ROOT / "stages"),
    }
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE, text=True).stdout


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize(("shape", "axis"), [((4, 9, 8, 7), -1), ((4, 7, 9, 8), 1), ((30, 7), -1), ((1, 3, 3, 5), -1)])
def test_it_computes_keras_formula_and_keeps_less(policy, shape, axis):
    python(COMPARED, policy, shape, axis)
    formula, ours = np.load("a.npz"), np.load("b.npz")
    for name in map(str, range(7)):
        expected = formula[name]
        assert np.abs(expected).max() > 0.01
        np.testing.assert_allclose(ours[name], expected, rtol=0, atol=3e-6 * np.abs(expected).max())
    assert ours["types"] == formula["types"]
    assert ours["kept"] < (0.6 if np.prod(shape) > 100 else 0.7) * formula["kept"]


@pytest.mark.parametrize(
    ("shape", "spread", "error"), [((1, 4), 0, 0), ((16, 256, 256, 2), 2, 1e-5)], ids=["one value", "a million"]
)
def test_mean_and_variance_are_exact(shape, spread, error):
    code = (
        "import numpy as np\nfrom scenes.learning.backend import keras\n"
        f"x = np.random.default_rng(0).normal(5, {spread}, {shape}).astype('float32')\n"
        "layer = keras.layers.BatchNormalization(momentum=0)\n"
        "layer(x, training=True)\n"
        "exact = x.reshape(-1, x.shape[-1]).astype('float64')\n"
        "found = [np.array(v) for v in (layer.moving_mean, layer.moving_variance)]\n"
        "print(max(np.abs(found[0] - exact.mean(0)).max(), np.abs(found[1] - exact.var(0)).max()))\n"
    )
    assert float(python(code)) <= error


KEPT = """
import torch
from scenes.learning.backend import keras

layers = (keras.layers.Conv2D(4, 3, padding="same"), keras.layers.Conv2D(4, 3, strides=2), keras.layers.MaxPooling2D(),
          keras.layers.AveragePooling2D(2), keras.layers.DepthwiseConv2D(3), keras.layers.SeparableConv2D(4, 3))
for layer in layers:
    x, kept = torch.randn(2, 16, 16, 4, requires_grad=True), []
    with torch.autograd.graph.saved_tensors_hooks(lambda each: kept.append(each) or each, lambda each: each):
        y = layer(x)
    large = {each.untyped_storage().data_ptr() for each in kept if each.numel() == x.numel()}
    print(type(layer).__name__, x.untyped_storage().data_ptr() in large, len(large), y.is_contiguous())
"""


def test_of_a_convolutions_input_no_copy_is_kept():
    names = ["Conv2D", "Conv2D", "MaxPooling2D", "AveragePooling2D", "DepthwiseConv2D", "SeparableConv2D"]
    assert python(KEPT).splitlines() == [f"{name} True 1 True" for name in names]


def test_a_model_keeps_the_outputs_that_are_still_to_be_read_and_no_others():
    seen: list[weakref.ref] = []
    alive: list[int] = []

    class Plus(keras.layers.Layer):
        def call(self, x):
            seen.append(weakref.ref(x))
            alive.append(sum(reference() is not None for reference in seen))
            return x + 1

    inputs = keras.Input((3,))
    first = x = Plus()(inputs)
    for _ in range(8):
        x = Plus()(x)
    network = keras.Model(inputs, [keras.layers.Add()([first, x]), x])
    seen.clear()
    alive.clear()
    both, last = network(np.zeros((2, 3), np.float32))
    assert np.allclose(keras.ops.convert_to_numpy(last), 9) and np.allclose(keras.ops.convert_to_numpy(both), 10)
    assert len(alive) == 9 and max(alive) <= 3  # of nine: the inputs, the first, which is added at the end, and its own
