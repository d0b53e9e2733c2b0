"""Adam and the L2 norm of all variables at once."""

import numpy as np

from scenes.learning.backend import keras
from scenes.learning.gpus import replicas

ops = keras.ops


def adam(rate: float) -> keras.optimizers.Adam:
    """Adam with the learning rate `rate`, in the form that suits the backend and the number of GPUs."""
    # FlatAdam does not sum the gradients of several GPUs.
    flat = keras.backend.backend() == "tensorflow" and replicas() == 1
    return (FlatAdam if flat else keras.optimizers.Adam)(rate)


class FlatAdam(keras.optimizers.Adam):
    """Adam over all variables laid end to end in one vector: Keras' steps, to rounding, from a far smaller graph.

    Keras' own adds some forty operations to the graph for each variable, of which NASNetLarge has 1,546: most of the
    minutes that TensorFlow takes to trace its training step. Every variable must have a gradient.
    """

    def build(self, variables: list) -> None:
        """Make the two moments, `[parameters]` each."""
        if self.built:
            return
        keras.optimizers.Optimizer.build(self, variables)
        self.sizes = [int(np.prod(variable.shape)) for variable in variables]
        moment = {"shape": (sum(self.sizes),), "dtype": variables[0].dtype}
        self.momentum = self.add_variable(**moment, name="momentum")
        self.velocity = self.add_variable(**moment, name="velocity")

    def apply(self, grads: list, trainable_variables: list | None = None) -> None:
        """Take one step; the optimiser must be built."""
        variables = trainable_variables or self._trainable_variables
        gradient = flatten(grads)
        step = ops.cast(self.iterations + 1, gradient.dtype)
        correction = ops.sqrt(1 - self.beta_2**step) / (1 - self.beta_1**step)
        rate = ops.cast(self.learning_rate, gradient.dtype) * correction
        self.momentum.assign_add((gradient - self.momentum) * (1 - self.beta_1))
        self.velocity.assign_add((ops.square(gradient) - self.velocity) * (1 - self.beta_2))
        change = self.momentum * rate / (ops.sqrt(self.velocity) + self.epsilon)
        for variable, part in zip(variables, ops.split(change, np.cumsum(self.sizes)[:-1].tolist()), strict=True):
            variable.assign_sub(ops.reshape(part, variable.shape))
        self.iterations.assign_add(1)


def square_norm(variables: list):
    """The sum of all squares, in the form that suits the backend: one node of a graph, or no copy of all weights."""
    if keras.backend.backend() == "tensorflow":
        return ops.sum(ops.square(flatten(variables)))
    return sum(ops.sum(ops.square(variable)) for variable in variables)


def flatten(tensors: list):
    """Lay tensors end to end, `[total size]`."""
    return ops.concatenate([ops.reshape(tensor, (-1,)) for tensor in tensors])
