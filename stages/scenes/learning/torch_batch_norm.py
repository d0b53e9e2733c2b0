"""Batch normalisation by torch's own kernels, in place of Keras' formula, to rounding.

The formula keeps three arrays of the layer's size for the backward pass, and takes five passes over them; the kernels
keep the input and take two.
"""

from collections.abc import Callable
from functools import wraps

import torch


def by_kernels(call: Callable) -> Callable:
    """What `call` of Keras' layer computes; it is left to that where there is a mask, or a single value to average."""

    @wraps(call)
    def fused(self, inputs: torch.Tensor, training: bool | None = None, mask: torch.Tensor | None = None):
        count = inputs.numel() // inputs.shape[self.axis]
        if mask is not None or self.renorm or self.synchronized or count < 2:
            return call(self, inputs, training=training, mask=mask)
        x = inputs.movedim(self.axis, 1)
        dtype = torch.promote_types(x.dtype, torch.float32)
        gamma, beta = (None if each is None else each.value.to(dtype) for each in (self.gamma, self.beta))
        if not (training and self.trainable):
            averages = self.moving_mean.value, self.moving_variance.value
            return torch.nn.functional.batch_norm(x, *averages, gamma, beta, eps=self.epsilon).movedim(1, self.axis)
        mean, variance = x.new_zeros((2, x.shape[1]), dtype=dtype)
        x = torch.nn.functional.batch_norm(x, mean, variance, gamma, beta, training=True, momentum=1, eps=self.epsilon)
        variance = variance * ((count - 1) / count)  # Keras averages the mean square
        for moving, new in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + new * (1 - self.momentum))
        return x.movedim(1, self.axis)

    return fused
