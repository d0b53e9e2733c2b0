"""Adam and the L2 norm of all variables at once."""

import numpy as np

from scenes.learning.backend import keras
from scenes.learning.gpus import replicas

ops = keras.ops


def adam(rate: float, steps: int = 1) -> keras.optimizers.Adam:
    """Adam with the learning rate `rate`, in the form that suits the backend and the number of GPUs.

    It takes a step each `steps` calls, by the mean of their gradients.
    """
    # FlatAdam does not sum the gradients of several GPUs.
    flat = keras.backend.backend() == "tensorflow" and replicas() == 1
    return (FlatAdam if flat else keras.optimizers.Adam)(rate, gradient_accumulation_steps=steps if steps > 1 else None)


class FlatAdam(keras.optimizers.Adam):
    """Adam over all variables laid end to end in one vector: Keras' steps, to rounding, from a far smaller graph.

    Keras' own adds some forty operations to the graph for each variable, of which NASNetLarge has 1,546: most of the
    minutes that TensorFlow takes to trace its training step. Every variable must have a gradient.
    """

    def build(self, variables: list) -> None:
        """Make the two moments and, where gradients are averaged, their sum, `[parameters]` each."""
        if self.built:
            return
        steps, self.gradient_accumulation_steps = self.gradient_accumulation_steps, None
        keras.optimizers.Optimizer.build(self, variables)  # which would make a sum for each variable
        self.gradient_accumulation_steps = steps
        self.sizes = [int(np.prod(variable.shape)) for variable in variables]
        vector = {"shape": (sum(self.sizes),), "dtype": variables[0].dtype}
        self.momentum = self.add_variable(**vector, name="momentum")
        self.velocity = self.add_variable(**vector, name="velocity")
        if steps:
            self.sum = self.add_variable(**vector, name="sum")

    def apply(self, grads: list, trainable_variables: list | None = None) -> None:
        """Take one step, or add to the gradients of the next one; the optimiser must be built."""
        gradient, steps = flatten(grads), self.gradient_accumulation_steps
        if steps:
            self.sum.assign_add(gradient)
            last = (self._iterations + 1) % steps == 0
            ops.cond(last, lambda: self.step(self.sum / steps), lambda: None)
            self.sum.assign(ops.where(last, ops.zeros_like(gradient), self.sum))
        else:
            self.step(gradient)
        self._iterations.assign_add(1)

    def step(self, gradient) -> None:
        """Change the variables by a gradient `[parameters]`."""
        step = ops.cast(self.iterations + 1, gradient.dtype)
        correction = ops.sqrt(1 - self.beta_2**step) / (1 - self.beta_1**step)
        rate = ops.cast(self.learning_rate, gradient.dtype) * correction
        self.momentum.assign_add((gradient - self.momentum) * (1 - self.beta_1))
        self.velocity.assign_add((ops.square(gradient) - self.velocity) * (1 - self.beta_2))
        change = self.momentum * rate / (ops.sqrt(self.velocity) + self.epsilon)
        parts = ops.split(change, np.cumsum(self.sizes)[:-1].tolist())
        for variable, part in zip(self._trainable_variables, parts, strict=True):
            variable.assign_sub(ops.reshape(part, variable.shape))


def square_norm(variables: list):
    """The sum of all squares, in the form that suits the backend: one node of a graph, or no copy of all weights."""
    if keras.backend.backend() == "tensorflow":
        return ops.sum(ops.square(flatten(variables)))
    return sum(ops.sum(ops.square(variable)) for variable in variables)


def flatten(tensors: list):
    """Lay tensors end to end, `[total size]`."""
    return ops.concatenate([ops.reshape(tensor, (-1,)) for tensor in tensors])
