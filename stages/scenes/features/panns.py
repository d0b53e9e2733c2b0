"""The five audio networks of the paper's audio-embedding frameworks: PANNs, trained on AudioSet by Kong et al. 2020.

"PANNs: Large-Scale Pretrained Audio Neural Networks for Audio Pattern Recognition", arXiv 1912.10211. Layers, names and
shapes are those of the published checkpoints (Zenodo record 3987831, CC BY 4.0), which therefore load as they are.
Sound is mono at 32 kHz, in [-1, 1]. Dropout and augmentation act in training only and are left out.

`scenes.features.panns_checkpoints` gives them their weights, `scenes.features.panns_embedder` makes them fast.
"""

import os
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple

from scenes.learning.numerics import settle
from scenes.stage.errors import InputError

# Threads that wait for one another soon sleep rather than spin: as fast alone, and beside another busy process, which
# would keep them all waiting, several times as fast. GNU's OpenMP reads it when torch starts: torch comes from here.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

settle("torch")

RATE, WINDOW, HOP, MELS = 32_000, 1024, 320, 64
CLASSES = 527  # of AudioSet

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


class Network(nn.Module, ABC):
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

    @abstractmethod
    def maps(self, waveforms: torch.Tensor) -> torch.Tensor:
        """From `[batch, samples]` to `[batch, channels, steps]` or `[batch, channels, steps, bands]`."""


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
