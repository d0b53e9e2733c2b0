"""The five audio networks of the paper's audio-embedding frameworks: PANNs, trained on AudioSet by Kong et al. 2020.

"PANNs: Large-Scale Pretrained Audio Neural Networks for Audio Pattern Recognition", arXiv 1912.10211. Layers, names and
shapes are those of the published checkpoints (Zenodo record 3987831, CC BY 4.0), which therefore load as they are.
Sound is mono at 32 kHz, in [-1, 1]. Dropout and augmentation act in training only and are left out.

`load` or `untrained` makes a network; `Embedder` makes it fast: batch norm folded into the convolutions, those of many
channels by minimal filtering, the STFT by FFT, seconds in batches.
"""

import itertools
import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from scenes.learning.numerics import settle
from scenes.stage.errors import InputError
from scenes.stage.outputs import writing

# Threads that wait for one another soon sleep rather than spin: as fast alone, and beside another busy process, which
# would keep them all waiting, several times as fast. GNU's OpenMP reads it when torch starts.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn.utils.fusion import fuse_conv_bn_eval  # noqa: E402

settle("torch")

RATE, WINDOW, HOP, MELS = 32_000, 1024, 320, 64
CLASSES = 527  # of AudioSet

# Samples in a batch: many, as the 80 million weights are read once a batch, but no tensor above the 32 MB from which
# malloc asks the system for memory anew at every layer.
BATCH = 16 * RATE

# How near a checkpoint's STFT tensors must be to a window times cosines and sines, for an FFT with that window to
# replace them. The window is at most 1, and rounding to float32 costs 6e-8.
STFT_TOLERANCE = 1e-6

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


class Published(NamedTuple):
    """A published checkpoint, and what its network takes and gives."""

    file: str
    md5: str | None  # not published for Res1dNet31
    megabytes: float
    dimension: int  # of an embedding
    shortest: int  # sound, samples


PUBLISHED = {
    "Cnn14": Published("Cnn14_mAP=0.431.pth", "541141fa2ee191a88f24a3219fff024e", 327.4, 2048, 9_920),
    "MobileNetV1": Published("MobileNetV1_mAP=0.389.pth", "a419303e1c88aa1b9d2ac3811563d371", 23.6, 1024, 9_920),
    "Res1dNet31": Published("Res1dNet31_mAP=0.365.pth", None, 322.1, 2048, 20_476),
    "ResNet38": Published("ResNet38_mAP=0.434.pth", "bf12f36aaabac4e0855e22d3c3239c1b", 299.6, 2048, 9_920),
    "Wavegram_Logmel_Cnn14": Published(
        "Wavegram_Logmel_Cnn14_mAP=0.439.pth", "17fa9ab65af3c0eb5ffbc5f65552c4e1", 328.7, 2048, 10_236
    ),
}


def published(name: str) -> Published:
    """The published checkpoint of a network.

    Raises
    ------
    InputError
        If it is not one of the five.
    """
    if name not in PUBLISHED:
        raise InputError(f"network {name!r} is not one of {', '.join(PUBLISHED)}")
    return PUBLISHED[name]


class ConvBlock(nn.Module):
    """Two convolutions of width 3, each with batch norm and ReLU; in one dimension the second is dilated by 2."""

    def __init__(self, conv: type, norm: type, inputs: int, outputs: int):
        super().__init__()
        dilation = 2 if conv is nn.Conv1d else 1
        self.conv1 = conv(inputs, outputs, 3, padding=1, bias=False)
        self.bn1 = norm(outputs)
        self.conv2 = conv(outputs, outputs, 3, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = norm(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu_(self.bn1(self.conv1(x)))
        return F.relu_(self.bn2(self.conv2(x)))


class ResidualBlock(ConvBlock):
    """A ConvBlock with a shortcut. A stride is a pooling: of means, but of maxima on the main path in one dimension."""

    def __init__(self, conv: type, norm: type, inputs: int, outputs: int, stride: int):
        super().__init__(conv, norm, inputs, outputs)
        self.pool = self.downsample = nn.Identity()
        if stride > 1:
            main, side = (nn.MaxPool1d, nn.AvgPool1d) if conv is nn.Conv1d else (nn.AvgPool2d, nn.AvgPool2d)
            self.pool = main(stride)
            self.downsample = nn.Sequential(side(stride), conv(inputs, outputs, 1, bias=False), norm(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = self.downsample(x)
        x = F.relu_(self.bn1(self.conv1(self.pool(x))))
        return F.relu_(self.bn2(self.conv2(x)) + shortcut)


def _resnet(conv: type, norm: type, stride: int, stages: list[tuple[int, int]]) -> nn.Sequential:
    """Stages of (channels, blocks), each but the first beginning with a stride."""
    layers, inputs = OrderedDict(), stages[0][0]
    for number, (outputs, blocks) in enumerate(stages, start=1):
        first = ResidualBlock(conv, norm, inputs, outputs, stride if number > 1 else 1)
        rest = (ResidualBlock(conv, norm, outputs, outputs, 1) for _ in range(blocks - 1))
        layers[f"layer{number}"], inputs = nn.Sequential(first, *rest), outputs
    return nn.Sequential(layers)


class STFT(nn.Module):
    """Power spectrum by the checkpoint's own tensors: as convolutions, or by FFT once `find_window` has succeeded."""

    def __init__(self):
        super().__init__()
        self.conv_real = nn.Conv1d(1, WINDOW // 2 + 1, WINDOW, stride=HOP, bias=False).requires_grad_(False)
        self.conv_imag = nn.Conv1d(1, WINDOW // 2 + 1, WINDOW, stride=HOP, bias=False).requires_grad_(False)
        self.register_buffer("window", None, persistent=False)

    def find_window(self) -> None:
        """Go by FFT from now on if the tensors are window * cos and -window * sin; cos 0 = 1 makes row 0 the window."""
        window = self.conv_real.weight[0, 0].clone()
        turns = torch.outer(torch.arange(WINDOW // 2 + 1), torch.arange(WINDOW)) % WINDOW / WINDOW
        wave = window * torch.exp(-2j * torch.pi * turns.double())
        pairs = (self.conv_real.weight, wave.real), (self.conv_imag.weight, wave.imag)
        if all((weight[:, 0] - part).abs().max() <= STFT_TOLERANCE for weight, part in pairs):
            self.window = window

    def forward(self, waveforms: torch.Tensor) -> torch.Tensor:
        """From `[batch, samples]` to `[batch, 513, frames]`, frames centred on multiples of the hop, ends reflected."""
        if self.window is None:
            x = F.pad(waveforms[:, None], (WINDOW // 2, WINDOW // 2), mode="reflect")
            return self.conv_real(x).square() + self.conv_imag(x).square()
        x = torch.stft(waveforms, WINDOW, HOP, window=self.window, pad_mode="reflect", return_complex=True)
        return x.real.square() + x.imag.square()


class Network(nn.Module):
    """What the five have in common: a head on the maps that `maps` makes of sound."""

    def __init__(self):
        super().__init__()
        dimension = published(type(self).__name__).dimension
        self.fc1 = nn.Linear(dimension, dimension)
        self.fc_audioset = nn.Linear(dimension, CLASSES)

    def forward(self, waveforms: torch.Tensor, layer: str = "pool") -> torch.Tensor:
        """Embed sound.

        Parameters
        ----------
        waveforms : Tensor
            `[batch, samples]` at 32 kHz.
        layer : str
            `pool`, the paper's: the mean over frequency, of that the maximum over time plus the mean over time; or
            `fc1`: the dense layer after it, with ReLU.

        Returns
        -------
        Tensor
            `[batch, dimension]`.

        Raises
        ------
        InputError
            If the network cannot take this number of samples.
        """
        name, samples = type(self).__name__, waveforms.shape[1]
        if samples < published(name).shortest:
            raise InputError(
                f"{name} takes no less than {published(name).shortest:,} samples at {RATE:,} Hz, not {samples:,}; "
                f"give it longer sounds"
            )
        x = self.maps(waveforms).float()
        x = x.mean(3) if x.ndim == 4 else x
        x = x.amax(2) + x.mean(2)
        return x if layer == "pool" else F.relu(self.fc1(x))

    def maps(self, waveforms: torch.Tensor) -> torch.Tensor:
        """From `[batch, samples]` to `[batch, channels, steps]` or `[batch, channels, steps, bands]`."""
        raise NotImplementedError


class LogMelNetwork(Network):
    """A network on the log-mel spectrogram: 64 bands from 50 Hz to 14 kHz every 10 ms, in float32 always."""

    def __init__(self):
        super().__init__()
        mel = nn.Parameter(torch.empty(WINDOW // 2 + 1, MELS), requires_grad=False)
        self.spectrogram_extractor = nn.ModuleDict({"stft": STFT()})
        self.logmel_extractor = nn.ParameterDict({"melW": mel})
        self.bn0 = nn.BatchNorm2d(MELS)

    def logmel(self, waveforms: torch.Tensor) -> torch.Tensor:
        """Normalised decibels, `[batch, 1, frames, 64]`."""
        with torch.autocast(waveforms.device.type, enabled=False):
            power = self.spectrogram_extractor["stft"](waveforms)
            mel = self.logmel_extractor["melW"].T @ power
            decibels = 10 * mel.clamp(min=1e-10).log10()
            return self.bn0(decibels[..., None]).permute(0, 3, 2, 1)


class Cnn14(LogMelNetwork):
    """Six ConvBlocks with average pooling between them."""

    def __init__(self, second: int = 64):
        super().__init__()
        channels = [(1, 64), (second, 128), (128, 256), (256, 512), (512, 1024), (1024, 2048)]
        for number, (inputs, outputs) in enumerate(channels, start=1):
            self.add_module(f"conv_block{number}", ConvBlock(nn.Conv2d, nn.BatchNorm2d, inputs, outputs))

    def maps(self, waveforms: torch.Tensor) -> torch.Tensor:
        return self._from_second_block(F.avg_pool2d(self.conv_block1(self.logmel(waveforms)), 2))

    def _from_second_block(self, x: torch.Tensor) -> torch.Tensor:
        for block in (self.conv_block2, self.conv_block3, self.conv_block4, self.conv_block5):
            x = F.avg_pool2d(block(x), 2)
        return self.conv_block6(x)


class Wavegram_Logmel_Cnn14(Cnn14):
    """Cnn14 whose second block also sees the wavegram: maps of 32 learnt bands, made from the waveform."""

    def __init__(self):
        super().__init__(second=128)
        self.pre_conv0 = nn.Conv1d(1, 64, 11, stride=5, padding=5, bias=False)
        self.pre_bn0 = nn.BatchNorm1d(64)
        self.pre_block1 = ConvBlock(nn.Conv1d, nn.BatchNorm1d, 64, 64)
        self.pre_block2 = ConvBlock(nn.Conv1d, nn.BatchNorm1d, 64, 128)
        self.pre_block3 = ConvBlock(nn.Conv1d, nn.BatchNorm1d, 128, 128)
        self.pre_block4 = ConvBlock(nn.Conv2d, nn.BatchNorm2d, 4, 64)

    def maps(self, waveforms: torch.Tensor) -> torch.Tensor:
        steps, rest = divmod(waveforms.shape[1] + 4, 640)
        if rest >= 324:
            raise InputError(
                f"Wavegram_Logmel_Cnn14 takes 640 n - 4 to 640 n + 319 samples (both halves then have n steps), not "
                f"{waveforms.shape[1]:,}; cut the sounds to {640 * steps + 319:,} or pad them to {640 * steps + 636:,}"
            )
        wave = F.relu_(self.pre_bn0(self.pre_conv0(waveforms[:, None])))
        for block in (self.pre_block1, self.pre_block2, self.pre_block3):
            wave = F.max_pool1d(block(wave), 4)
        wave = F.avg_pool2d(self.pre_block4(wave.unflatten(1, (-1, 32)).transpose(2, 3)), (2, 1))
        spectrogram = F.avg_pool2d(self.conv_block1(self.logmel(waveforms)), 2)
        return self._from_second_block(torch.cat([spectrogram, wave], dim=1))


class ResNet38(LogMelNetwork):
    """A residual network between two ConvBlocks."""

    def __init__(self):
        super().__init__()
        self.conv_block1 = ConvBlock(nn.Conv2d, nn.BatchNorm2d, 1, 64)
        self.resnet = _resnet(nn.Conv2d, nn.BatchNorm2d, 2, [(64, 3), (128, 4), (256, 6), (512, 3)])
        self.conv_block_after1 = ConvBlock(nn.Conv2d, nn.BatchNorm2d, 512, 2048)

    def maps(self, waveforms: torch.Tensor) -> torch.Tensor:
        x = F.avg_pool2d(self.conv_block1(self.logmel(waveforms)), 2)
        return self.conv_block_after1(F.avg_pool2d(self.resnet(x), 2))


class Res1dNet31(Network):
    """A residual network on the waveform, the paper's Res1dNet30; no ReLU after the first batch norm."""

    def __init__(self):
        super().__init__()
        self.conv0 = nn.Conv1d(1, 64, 11, stride=5, padding=5, bias=False)
        self.bn0 = nn.BatchNorm1d(64)
        stages = [(channels, 2) for channels in (64, 128, 256, 512, 1024, 1024, 2048)]
        self.resnet = _resnet(nn.Conv1d, nn.BatchNorm1d, 4, stages)

    def maps(self, waveforms: torch.Tensor) -> torch.Tensor:
        return self.resnet(self.bn0(self.conv0(waveforms[:, None])))


class MobileNetV1(LogMelNetwork):
    """A convolution and 13 depthwise-separable ones; a stride is an average pooling before the batch norm."""

    def __init__(self):
        super().__init__()
        separable = [(32, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2)]
        separable += [(512, 512, 1)] * 5 + [(512, 1024, 2), (1024, 1024, 1)]
        blocks = [[*self._spatial(1, 32, 2)]]
        blocks += [[*self._spatial(i, i, stride, groups=i), *self._pointwise(i, o)] for i, o, stride in separable]
        self.features = nn.Sequential(*(nn.Sequential(*block) for block in blocks))

    @staticmethod
    def _spatial(inputs: int, outputs: int, stride: int, groups: int = 1) -> Iterator[nn.Module]:
        yield nn.Conv2d(inputs, outputs, 3, padding=1, groups=groups, bias=False)
        yield nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        yield from (nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))

    @staticmethod
    def _pointwise(inputs: int, outputs: int) -> Iterator[nn.Module]:
        yield from (nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))

    def maps(self, waveforms: torch.Tensor) -> torch.Tensor:
        return self.features(self.logmel(waveforms))


NETWORKS = {network.__name__: network for network in (Cnn14, MobileNetV1, Res1dNet31, ResNet38, Wavegram_Logmel_Cnn14)}


def build(name: str) -> Network:
    """Build a network without values, on the device `meta`, which costs neither time nor memory.

    Raises
    ------
    InputError
        If it is not one of the five.
    """
    published(name)
    with torch.device("meta"):
        return NETWORKS[name]()


@torch.no_grad()
def untrained(name: str, seed: int) -> Network:
    """Build a network with seeded initial weights: Xavier uniform, biases 0, batch norm 1 and 0.

    Upstream begins the last batch norm of every residual block at 0; here at 1, or the blocks would do nothing.
    """
    import librosa  # takes seconds, and nothing else here needs it

    network = build(name).to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, NORMS):
            module.reset_parameters()
        elif isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight, generator=generator)
            if module.bias is not None:
                module.bias.zero_()
    if isinstance(network, LogMelNetwork):
        stft = network.spectrogram_extractor["stft"]
        window = torch.hann_window(WINDOW, dtype=torch.float64)
        wave = torch.fft.rfft(torch.eye(WINDOW, dtype=torch.float64) * window).T[:, None]
        stft.conv_real.weight.copy_(wave.real)
        stft.conv_imag.weight.copy_(wave.imag)
        stft.find_window()
        mel = librosa.filters.mel(sr=RATE, n_fft=WINDOW, n_mels=MELS, fmin=50, fmax=14_000)
        network.logmel_extractor["melW"].copy_(torch.from_numpy(mel.T))
    return network.eval()


@torch.no_grad()
def reestimate_batch_norm(network: Network, batches: Iterable[np.ndarray]) -> None:
    """Replace batch norm's statistics by plain averages over batches of sound, float32 `[batch, samples]` each.

    Activations of an untrained deep network otherwise shrink or grow from layer to layer; its embeddings are all alike.
    """
    for module in network.modules():
        if isinstance(module, NORMS):
            module.reset_running_stats()
            module.momentum = None
    network.train()
    for batch in batches:
        network(torch.from_numpy(batch))
    network.eval()


def save(network: Network, path: Path) -> None:
    """Write a checkpoint in the published layout: the state dict under the key `model`."""
    with writing(path) as temporary:
        torch.save({"model": network.state_dict()}, temporary)


@torch.no_grad()
def load(name: str, path: Path) -> Network:
    """Build a network from a checkpoint in the published layout, without running code that the file may hold.

    Raises
    ------
    InputError
        If the file is not a whole checkpoint, is one of another network, or holds weights that are not finite.
    """
    network, cure = build(name), f"put the published {published(name).file} there"
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # a damaged or hostile pickle may raise anything
        raise InputError(f"{path}: truncated, or holds more than weights, such as code; {cure}") from error
    state = checkpoint.get("model") if isinstance(checkpoint, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise InputError(f"{path}: has no state dict under the key 'model'; {cure}")
    expected, found = ({key: tuple(value.shape) for key, value in s.items()} for s in (network.state_dict(), state))
    if found != expected:
        raise InputError(f"{path}: not of {name}, {_difference(expected, found)}; {cure}")
    for key, value in state.items():
        if not value.isfinite().all():
            raise InputError(f"{path}: {key} holds values that are not finite; {cure}")
    network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()}, assign=True)
    if isinstance(network, LogMelNetwork):
        network.spectrogram_extractor["stft"].find_window()
    return network.eval()


def _difference(expected: dict[str, tuple], found: dict[str, tuple]) -> str:
    keys = {"lacks": expected.keys() - found.keys(), "has": found.keys() - expected.keys()}
    parts = [f"{verb} {len(names)} keys such as {min(names)}" for verb, names in keys.items() if names]
    shapes = sorted(key for key in expected.keys() & found.keys() if expected[key] != found[key])
    return ", ".join(parts + [f"{key} has the shape {found[key]}, not {expected[key]}" for key in shapes[:1]])


class WinogradConv(nn.Module):
    """A convolution of width 3, stride 1, padded by its dilation, by the minimal filtering of Lavin and Gray 2016.

    Two outputs side by side take four multiplications instead of six, and in two dimensions four take 16 instead of 36:
    sums of inputs times sums of weights, one matrix product each, F(2, 3). On few channels the sums cost more than they
    save.
    """

    def __init__(self, conv: nn.Conv1d | nn.Conv2d):
        super().__init__()
        self.dilation, self.axes, self.bias = conv.dilation[0], len(conv.kernel_size), conv.bias
        sums = torch.tensor([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
        weight = conv.weight.movedim((0, 1), (-1, -2))  # [3, (3,) inputs, outputs]
        for axis in range(self.axes):
            weight = torch.tensordot(sums, weight, ([1], [axis]))
        self.weight = nn.Parameter(weight.flatten(0, self.axes - 1).contiguous())  # [4 or 16, inputs, outputs]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        sizes, gap = x.shape[2:], self.dilation
        pairs = [-(-size // (2 * gap)) for size in sizes]
        padding = [(gap, gap * (2 * count + 1) - size) for count, size in zip(pairs, sizes, strict=True)]
        x = F.pad(x.movedim(1, -1), (0, 0, *itertools.chain(*reversed(padding))))
        # Each axis done has put its four sums in front and become two, the pairs and the dilation's interleaved rows.
        axes = range(1, 1 + 3 * self.axes, 3)
        for axis, count in zip(axes, pairs, strict=True):
            x = x.unflatten(axis, (count + 1, 2, gap))
            (a, b), (c, d) = (x.narrow(axis, start, count).unbind(axis + 1) for start in (0, 1))
            x = torch.stack([a - c, b + c, c - b, b - d])
        rows = x.flatten(0, self.axes - 1).flatten(1, -2)
        x = torch.bmm(rows, self.weight).view(*x.shape[:-1], -1)
        for axis, size in reversed(list(zip(axes, sizes, strict=True))):
            a, b, c, d = x
            x = torch.stack([a + b + c, b - c - d], axis + 1).flatten(axis, axis + 2).narrow(axis, 0, size)
        return (x + self.bias).movedim(-1, 1)


@torch.no_grad()
def fuse(network: Network, winograd: bool = False) -> Network:
    """Fold each batch norm, with an average pooling before it, into its convolution, in place; equal to rounding.

    Batch norm in use is a factor and a term per channel. The mean of 2 x 2 outputs of a convolution is one output of a
    convolution with stride 2 whose kernel is the mean of the four shifted ones. With `winograd`, convolutions of many
    channels become `WinogradConv`.
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
                conv = fuse_conv_bn_eval(parent.get_submodule(before), module)
                wide = conv.out_channels >= 256 and conv.groups == 1 and conv.weight.shape[-1] == 3
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
