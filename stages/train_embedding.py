"""Train the MLP of Table II on audio or visual embeddings of single seconds: an embedding framework of the paper."""

from pathlib import Path

from scenes.classifiers.mlp import WIDTHS, mlp
from scenes.stage import options
from scenes.stage.cli import run
from scenes.stage.dataset import open_rows, read_classes, read_split
from scenes.training import Recipe, prepare, train


def main(
    split: Path,
    classes: Path,
    embedding: Path,
    model: Path,
    history: Path,
    modality: options.Modality,
    widths: options.Widths = WIDTHS,
    dropout: options.DropoutRate = 0.4,
    epochs: options.Epochs = 100,
    batch: options.Batch = 100,
    seconds: options.Seconds = 10,
    lr: options.LearningRate = 1e-4,
    l2: options.L2 = 1e-4,
    mixup: options.Mixup = options.MIXUP_PARTS,
    mixup_alpha: options.MixupAlpha = 0.4,
    precision: options.Precision = "float32",
    seed: options.Seed = 0,
) -> None:
    recipe = Recipe(epochs, batch, seconds, lr, l2, mixup, mixup_alpha, False, seed)
    clips, table = read_split(split), read_classes(classes)
    embeddings = open_rows(embedding, clips)
    prepare(precision, seed)
    network = mlp(embeddings.shape[-1], len(table), widths, dropout)
    train(
        network, lambda clip, second: embeddings[clip, second], clips, table, modality, [split, classes, embedding],
        model, history, recipe,
    )  # fmt: skip


if __name__ == "__main__":
    run(main)
