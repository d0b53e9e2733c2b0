"""Options that several scripts have, with their help and their range; the defaults in the scripts are the paper's."""

from pathlib import Path
from typing import Annotated, Literal, get_args

import typer

PrecisionName = Literal["float32", "bfloat16"]


def _precision(name: str) -> str:
    if name in get_args(PrecisionName):
        return name
    reason = "; what the machine can do no longer decides it" if name == "auto" else ""
    raise typer.BadParameter(f"--precision {name}: write {' or '.join(get_args(PrecisionName))}{reason}")


SampleRate = Annotated[int, typer.Option(help="samples a second; other sound is resampled", min=8_000, max=192_000)]
FFT = Annotated[int, typer.Option(help="samples of an FFT", min=16, max=2**20)]
Window = Annotated[int, typer.Option(help="samples of the Hann window, n_fft at most", min=16, max=2**20)]
Hop = Annotated[int, typer.Option(help="samples from frame to frame", min=16, max=192_000)]
Bins = Annotated[int, typer.Option(help="frequency bands", min=8, max=1024)]
BinsPerOctave = Annotated[int, typer.Option(help="frequency bands an octave", min=1, max=1024)]
Lowest = Annotated[float, typer.Option(help="lowest frequency, Hz", min=0.0, max=96_000.0)]
Highest = Annotated[
    float, typer.Option(help="highest frequency, Hz, half the sample rate at most", min=1.0, max=96_000.0)
]
Offset = Annotated[float, typer.Option(help="added to magnitudes before the logarithm", min=1e-30, max=1.0)]

Epochs = Annotated[int, typer.Option(help="passes over the train clips", min=1, max=100_000)]
Batch = Annotated[int, typer.Option(help="samples in a batch, before mixup", min=2, max=100_000)]
MicroBatch = Annotated[
    int | None, typer.Option(help="samples after mixup on the device at once; default: all of a batch", max=1_000_000)
]
SaveMinutes = Annotated[
    float, typer.Option(help="how old the state for a resume may get", min=0, max=1440, envvar="SCENES_SAVE_MINUTES")
]
Seconds = Annotated[int, typer.Option(help="seconds drawn from each clip in an epoch", min=1, max=10)]
LearningRate = Annotated[float, typer.Option(help="learning rate of Adam", min=0.0, max=1.0)]
L2 = Annotated[float, typer.Option(help="lambda of Eq. 1, over all trainable variables", min=0.0, max=1.0)]
Mixup = Annotated[list[str], typer.Option(help="parts of mixup: beta, original, uniform")]
MixupAlpha = Annotated[float, typer.Option(help="mixup draws from Beta(alpha, alpha)", min=0.001, max=1000.0)]
Reestimate = Annotated[bool, typer.Option(help="replace batch norm's moving averages after the last epoch")]
Widths = Annotated[list[int], typer.Option(help="units of each hidden layer or group of them", min=1, max=65_536)]
Units = Annotated[int, typer.Option(help="units of the first dense layer", min=1, max=65_536)]
DropoutRates = Annotated[list[float], typer.Option(help="dropout rate of each group", min=0.0, max=0.99)]
DropoutRate = Annotated[float, typer.Option(help="dropout rate after each dense layer", min=0.0, max=0.99)]
Momentum = Annotated[float, typer.Option(help="of batch norm's moving averages", min=0.0, max=0.9999)]
BatchNorm = Annotated[
    Literal["both", "after"],
    typer.Option(help="both: before and after each convolution; after: before the first and after each"),
]
Unit = Annotated[
    Literal["second", "clip"], typer.Option(help="audio embeddings: one a second, or the clip's ten times")
]
UnitsOf = Annotated[
    list[str], typer.Option(help="family/member,...=unit of audio embeddings: second, clip or timestamps")
]
Network = Annotated[str, typer.Option(help="name of the Keras application, such as InceptionV3")]
Size = Annotated[int, typer.Option(help="height and width of the network's input, pixels", min=32, max=2048)]
Pretrained = Annotated[bool, typer.Option(help="start from trained weights, not from seeded random ones")]
Weights = Annotated[str, typer.Option(help="file of the trained weights; none: the published ones")]
OwnWeights = Annotated[str, typer.Option(help="file that the code is given to load; none: it is given nothing")]
HubModel = Annotated[str, typer.Option(help="its name on the hub, owner/name")]
Revision = Annotated[str, typer.Option(help="a commit of it there")]
ModelFolder = Annotated[str, typer.Option(help="folder of the model in Transformers' layout; none: the hub's")]
Level = Annotated[
    str, typer.Option(help="root mean square that clips are scaled to, dB below full scale; none: as they are")
]
WeightsDir = Annotated[Path, typer.Option(help="folder of downloads", envvar="SCENES_WEIGHTS")]
Precision = Annotated[
    PrecisionName,
    typer.Option(help="numbers in the layers", parser=_precision, metavar=f"[{'|'.join(get_args(PrecisionName))}]"),
]
Seed = Annotated[int, typer.Option(help="seed of whatever is drawn at random", min=0, max=2**32 - 1)]
