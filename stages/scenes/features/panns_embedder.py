"""The PANNs made fast: batch norm folded into convolutions, those of many channels by minimal filtering, in batches."""

import itertools
from functools import cache
from pathlib import Path

import numpy as np

from scenes.features.panns import NORMS, RATE, F, Network, nn, torch
from scenes.features.panns_checkpoints import load

# Samples in a batch: many, as the 80 million weights are read once a batch, but no tensor above the 32 MB from which
# malloc asks the system for memory anew at every layer.
BATCH = 16 * RATE


class WinogradConv(nn.Module):
    """A convolution of 3 x 3, stride 1 and padding 1 by the minimal filtering of Lavin and Gray 2016.

    Four outputs side by side take 16 multiplications instead of 36: sums of inputs times sums of weights, one matrix
    product each, F(2 x 2, 3 x 3). On few channels the sums cost more than they save.
    """

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        sums = torch.tensor([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
        weight = conv.weight.movedim((0, 1), (-1, -2))  # [3, 3, inputs, outputs]
        for axis in (0, 1):
            weight = torch.tensordot(sums, weight, ([1], [axis]))
        self.weight, self.bias = nn.Parameter(weight.flatten(0, 1).contiguous()), conv.bias  # [16, inputs, outputs]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        sizes = x.shape[2:]
        pairs = [-(-size // 2) for size in sizes]
        padding = [(1, 2 * count + 1 - size) for count, size in zip(pairs, sizes, strict=True)]
        x = F.pad(x.movedim(1, -1), (0, 0, *itertools.chain(*reversed(padding))))
        axes = (1, 3)  # each axis done puts its four sums in front: the second one moves up
        for axis, count in zip(axes, pairs, strict=True):
            x = x.unflatten(axis, (count + 1, 2))
            (a, b), (c, d) = (x.narrow(axis, start, count).unbind(axis + 1) for start in (0, 1))
            x = torch.stack([a - c, b + c, c - b, b - d])
        rows = x.flatten(0, 1).flatten(1, -2)
        x = torch.bmm(rows, self.weight).view(*x.shape[:-1], -1)
        for axis, size in reversed(list(zip(axes, sizes, strict=True))):
            a, b, c, d = x
            x = torch.stack([a + b + c, b - c - d], axis + 1).flatten(axis, axis + 1).narrow(axis, 0, size)
        return (x + self.bias).movedim(-1, 1)


@torch.no_grad()
def fuse(network: Network, winograd: bool = False) -> Network:
    """Fold each batch norm, with an average pooling before it, into its convolution, in place; equal to rounding.

    Batch norm in use is a factor and a term per channel. The mean of 2 x 2 outputs of a convolution is one output of a
    convolution with stride 2 whose kernel is the mean of the four shifted ones. With `winograd`, convolutions of 3 x 3
    of many channels become `WinogradConv`.
    """
    for parent in list(network.modules()):
        before = None
        for name, module in list(parent.named_children()):
            if isinstance(module, nn.Conv1d | nn.Conv2d):
                before = name
            elif before and isinstance(module, nn.AvgPool2d):
                conv, size = parent.get_submodule(before), module.kernel_size
                conv.weight = nn.Parameter(F.avg_pool2d(F.pad(conv.weight, [size - 1] * 4), size, stride=1))
                conv.stride = (size, size)
                parent.set_submodule(name, nn.Identity())
            elif before and isinstance(module, NORMS):
                conv = nn.utils.fusion.fuse_conv_bn_eval(parent.get_submodule(before), module)
                wide = conv.out_channels >= 256 and conv.groups == 1 and conv.weight.shape[2:] == (3, 3)
                parent.set_submodule(before, WinogradConv(conv) if winograd and wide else conv)
                parent.set_submodule(name, nn.Identity())
                before = None
    return network


class Embedder:
    """A network made fast: fused, in batches, on the GPU if there is one.

    Parameters
    ----------
    network : Network
        Changed in place.
    layer : str
        `pool` or `fc1`.
    precision : str
        `float32` or `bfloat16`.
    """

    def __init__(self, network: Network, layer: str = "pool", precision: str = "float32"):
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        # In bfloat16 the sums would be rounded too much, and cuDNN has the like itself.
        network = fuse(network, winograd=precision == "float32" and self.device == "cpu")
        self.network = network.to(self.device, memory_format=torch.channels_last)
        self.layer, self.precision = layer, precision

    @torch.inference_mode()
    def __call__(self, waveforms: np.ndarray) -> np.ndarray:
        """From sounds at 32 kHz, float32 `[sounds, samples]`, to embeddings, float32 `[sounds, dimension]`."""
        batches = torch.from_numpy(waveforms).split(max(1, BATCH // waveforms.shape[1]))
        with torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bfloat16"):
            rows = [self.network(batch.to(self.device), self.layer).float().cpu() for batch in batches]
        return torch.cat(rows).numpy()


@cache
def embedder(name: str, path: Path, layer: str, precision: str) -> Embedder:
    """Load a network once a process; the arguments are those of `load` and `Embedder`."""
    return Embedder(load(name, path), layer, precision)
