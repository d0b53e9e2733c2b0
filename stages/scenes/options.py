"""Options that several scripts have, with their help; the defaults in the scripts are the paper's."""

from typing import Annotated, Literal

import typer

from scenes.precision import Precision as PrecisionName

Epochs = Annotated[int, typer.Option(help="passes over the train clips", min=1)]
Batch = Annotated[int, typer.Option(help="samples in a batch, before mixup", min=2)]
Seconds = Annotated[int, typer.Option(help="seconds drawn from each clip in an epoch", min=1, max=10)]
LearningRate = Annotated[float, typer.Option(help="learning rate of Adam", min=0.0)]
L2 = Annotated[float, typer.Option(help="lambda of Eq. 1, over all trainable variables", min=0.0)]
Mixup = Annotated[list[str], typer.Option(help="parts of mixup: beta, original, uniform")]
MixupAlpha = Annotated[float, typer.Option(help="mixup draws from Beta(alpha, alpha)")]
Reestimate = Annotated[bool, typer.Option(help="replace batch norm's moving averages after the last epoch")]
Modality = Annotated[Literal["audio", "video"], typer.Option(help="what the embeddings are of")]
Size = Annotated[int, typer.Option(help="height and width of the network's input, pixels")]
Pretrained = Annotated[bool, typer.Option(help="start from trained weights, not from seeded random ones")]
Weights = Annotated[str, typer.Option(help="file or folder of the trained weights; none: the published ones")]
Precision = Annotated[PrecisionName, typer.Option(help="numbers in the layers; auto: bfloat16 where it is faster")]
Seed = Annotated[int, typer.Option(help="seed of initial weights, order, mixup and dropout")]

MIXUP_PARTS = ["beta", "original", "uniform"]
