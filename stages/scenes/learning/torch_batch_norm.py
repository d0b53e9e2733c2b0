"""Batch normalisation under torch that keeps its input alone for the backward pass, in place of Keras' formula.

The formula keeps three arrays of the layer's size. Torch's own kernel keeps one, too, but sums channels that lie last
one number after another: of a million numbers in float32, the variance is off by half a thousandth.
"""

from collections.abc import Callable
from functools import wraps

import torch


class BatchNorm(torch.autograd.Function):
    """Normalise by the batch: `(x - mean) / sqrt(variance + epsilon) * gamma + beta`, at least in float32.

    Means are over `axes`; all but x are of a shape that is one there. Mean and variance are given too.
    """

    @staticmethod
    def forward(ctx, x, gamma, beta, axes: list[int], epsilon: float):
        wide = x.to(gamma.dtype)
        mean = wide.mean(axes, keepdim=True)
        variance = (wide - mean).square_().mean(axes, keepdim=True)
        inverse = (variance + epsilon).rsqrt()
        ctx.save_for_backward(x, gamma, mean, inverse)
        ctx.axes = axes
        ctx.mark_non_differentiable(mean, variance)
        scale = gamma * inverse
        return torch.addcmul(beta - mean * scale, wide, scale).to(x.dtype), mean, variance

    @staticmethod
    def backward(ctx, grad, *_):
        x, gamma, mean, inverse = ctx.saved_tensors
        wide = grad.to(gamma.dtype)
        normed = (x.to(gamma.dtype) - mean).mul_(inverse)
        of_beta = wide.sum(ctx.axes, keepdim=True)
        of_gamma = (wide * normed).sum(ctx.axes, keepdim=True)
        count = x.numel() // mean.numel()
        of_x = (wide - of_beta / count).addcmul_(normed, of_gamma, value=-1 / count).mul_(gamma * inverse)
        return of_x.to(grad.dtype), of_gamma, of_beta, None, None


def frugal(call: Callable) -> Callable:
    """What `call` of Keras' layer computes; it is left to that where there is a mask or a renormalisation."""

    @wraps(call)
    def normalised(self, inputs: torch.Tensor, training: bool | None = None, mask: torch.Tensor | None = None):
        if mask is not None or self.renorm:
            return call(self, inputs, training=training, mask=mask)
        shape = [1] * inputs.ndim
        shape[self.axis] = -1
        dtype = torch.promote_types(inputs.dtype, torch.float32)

        def shaped(variable, instead: float) -> torch.Tensor:
            made = torch.full_like(self.moving_mean.value, instead) if variable is None else variable.value
            return made.to(dtype).reshape(shape)

        gamma, beta = shaped(self.gamma, 1), shaped(self.beta, 0)
        if not (training and self.trainable):
            scale = gamma * (shaped(self.moving_variance, 1) + self.epsilon).rsqrt()
            shift = beta - shaped(self.moving_mean, 0) * scale
            return torch.addcmul(shift, inputs.to(dtype), scale).to(inputs.dtype)
        axes = [axis for axis in range(inputs.ndim) if axis != self.axis % inputs.ndim]
        outputs, mean, variance = BatchNorm.apply(inputs, gamma, beta, axes, self.epsilon)
        for moving, new in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + new.flatten() * (1 - self.momentum))
        return outputs

    return normalised
