"""The one training loop: mixup, Kullback-Leibler loss with L2 (the paper, Eq. 1), Adam, the last or the best epoch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from scenes.dataset.tables import SECONDS, labels
from scenes.learning.backend import keep_graphs_as_traced, keras
from scenes.learning.batch_norm import reestimate
from scenes.learning.batches import Batches, Load, Samples, ShuffledBatches
from scenes.learning.callbacks import BEST, HISTORY_COLUMNS, TIMING_COLUMNS, BestEpoch, Checkpoint, EpochLog
from scenes.learning.gpus import draw_apart, on_gpu, replicas, share_averages, use_all
from scenes.learning.inference import BATCH, batch_size, finite
from scenes.learning.mixup import MixedBatches, check
from scenes.learning.optimizer import adam, square_norm
from scenes.learning.precision import policy
from scenes.stage import options
from scenes.stage.errors import InputError
from scenes.stage.outputs import write_csv, writing
from scenes.stage.resume import finish, resume_folder

# A training of fewer steps is over before a better graph would pay.
SHORT = 200
# Threads that make batches ahead for a GPU, whose step may be as short as the making of a batch.
THREADS = 4


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes
    ----------
    epochs, batch, seconds : int
        Passes over the train clips; samples in a batch before mixup; seconds drawn from each clip in an epoch.
    lr, l2 : float
        Learning rate of Adam; lambda of Eq. 1.
    mixup : list of str
        Parts of mixup, see `scenes.learning.mixup`; `mixup_alpha` is its Beta parameter.
    reestimate_batch_norm : bool
        Whether to replace the moving averages after the last epoch by those of as many seconds of each clip as an epoch
        draws, see `reestimate`.
    seed : int
        Seed of the initial weights, the order, the mixtures and dropout.
    precision : str
        `float32` or `bfloat16`.
    """

    epochs: options.Epochs = 100
    batch: options.Batch = 100
    seconds: options.Seconds = 10
    lr: options.LearningRate = 1e-4
    l2: options.L2 = 1e-4
    mixup: options.Mixup = ("beta", "original", "uniform")
    mixup_alpha: options.MixupAlpha = 0.4
    reestimate_batch_norm: options.Reestimate = False
    seed: options.Seed = 0
    precision: options.Precision = "float32"


def prepare(recipe: Recipe) -> None:
    """Set up Keras for a training, before the network is built: seed, precision, all GPUs."""
    keras.utils.set_random_seed(recipe.seed)
    keras.config.set_dtype_policy(policy(recipe.precision))
    use_all()


def train(
    network: keras.Model,
    load: Load,
    split: pd.DataFrame,
    classes: pd.DataFrame,
    media: list[str],
    inputs: list[Path],
    model: Path,
    history: Path,
    recipe: Recipe,
    units: int = SECONDS,
    keep: Literal["last", "best"] = "last",
) -> None:
    """Train a network on the train clips and write its weights and its history.

    Parameters
    ----------
    network : Model
        From inputs to probabilities; every trainable variable is trained.
    load : callable
        From clips and seconds, int `[n]` each, to inputs `[n, ...]`, an array or a tuple of them.
    split, classes : DataFrame
        As read by `scenes.dataset.tables`; clips without all of `media` are left out.
    media : list of str
        `audio`, `video` or both: what the network needs of a clip.
    inputs : list of Path
        The files that `load` reads, for telling whether an interrupted training may go on.
    model, history : Path
        Where to write the weights (`.weights.h5`, without optimiser) and the table of epochs. How long these took is
        written beside it (`.timing.csv`), since no two trainings take the same time: the table itself is hashed.
    recipe : Recipe
        How to train.
    units : int
        How many inputs a clip has, its ten seconds or others.
    keep : str
        Which epoch's weights: the `last`, or the `best`, of lowest validation loss.

    Raises
    ------
    InputError
        If no train clip has these media, the best epoch is wanted without a validation clip, mixup cannot run with
        its parameters, or the training diverges: a loss or a weight is not finite. `model` and `history` are then not
        written, and the last good state stays for a resume.
    """
    check(recipe.mixup)
    present = (split[media] != "").all(axis=1)
    clips = np.flatnonzero(present & (split["fold"] == "train"))
    validation_clips = np.flatnonzero(present & (split["fold"] == "validation"))
    if not len(clips):
        raise InputError(f"no train clip has {' and '.join(media)}: nothing to train {model} on")
    if keep == "best" and not len(validation_clips):
        raise InputError(f"{model}: no clip is left for validation, by which the best epoch is chosen")
    unknown = clips[labels(split.iloc[clips], classes) < 0]
    if len(unknown):
        first = split.iloc[unknown[0]]
        raise InputError(f"class {first['scene']!r} of {first['clip']} is not among {', '.join(classes['class'])}")
    targets = np.eye(len(classes), dtype=np.float32)[labels(split, classes)]

    batches = MixedBatches(
        load, clips, targets, recipe.batch, recipe.seconds, recipe.seed, units,
        parts=recipe.mixup, alpha=recipe.mixup_alpha,
    )  # fmt: skip
    if on_gpu():
        batches.workers = batches.max_queue_size = THREADS
    validation = None
    if len(validation_clips):
        spaced = np.linspace(0, units, recipe.seconds, endpoint=False).astype(int)  # as many of a clip as an epoch has

        def load_spaced(clips: np.ndarray, number: np.ndarray) -> Samples:
            return load(clips, spaced[number])

        validation = Batches(load_spaced, validation_clips, targets, batch_size(network), recipe.seconds)
    if recipe.epochs * len(batches) < SHORT:
        keep_graphs_as_traced()
    folder = resume_folder(model, inputs)
    trainer = Trainer(network, adam(recipe.lr), recipe.l2)
    log = EpochLog(model, network, validation)
    best = BestEpoch(folder / BEST, network, log) if keep == "best" else None
    checkpoint = Checkpoint(folder, log, best)
    # Keras leaves out of its files how far the random numbers of dropout had got: one draw per step.
    drawn = [variable for variable in trainer.variables if variable.name == "seed_generator_state"]

    def start_epoch(epoch: int, logs: dict | None = None) -> None:
        for state in drawn:
            state.assign([int(keras.ops.convert_to_numpy(state)[0]), epoch * len(batches)])
        draw_apart(network)
        # Torch's dropout draws from the process' generator: after a kill too, as it would have.
        keras.utils.set_random_seed(int(np.random.SeedSequence([recipe.seed, epoch]).generate_state(1)[0]))
        batches.shuffle(epoch)

    epochs_seen = checkpoint.restore(trainer)
    with log.bar:
        trainer.fit(
            batches,
            epochs=recipe.epochs,
            shuffle=False,  # the batches are, anew in each epoch: Keras' own order would be another after a kill
            initial_epoch=epochs_seen,
            verbose=0,
            callbacks=[
                keras.callbacks.LambdaCallback(start_epoch, lambda *_: share_averages(network)),
                log,
                *([best] if best else []),
                checkpoint,
            ],
        )
    if best:
        network.load_weights(best.path)
    if recipe.reestimate_batch_norm:
        reestimate(network, ShuffledBatches(load, clips, targets, BATCH, recipe.seconds, recipe.seed, units))
    if not finite(network):
        raise log.diverged("its weights are not finite after the last epoch")
    write_csv(history, log.table()[HISTORY_COLUMNS])
    write_csv(history.with_suffix(".timing.csv"), log.table()[TIMING_COLUMNS])
    with writing(model) as temporary:
        network.save_weights(temporary)
    finish(folder)


class Trainer(keras.Model):
    """A model that shares a network's layers and trains them by Eq. 1 (the paper).

    The loss is the batch mean of the Kullback-Leibler divergence plus `l2 / 2` times the sum of the squares of all
    trainable variables. The network itself stays uncompiled, so that its weights are saved without the optimiser's.
    """

    def __init__(self, network: keras.Model, optimizer: keras.optimizers.Optimizer, l2: float) -> None:
        super().__init__(network.input, network.output)
        self.l2 = l2
        self.compile(
            optimizer=optimizer,
            loss=keras.losses.KLDivergence(),
            metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
            jit_compile=keras.backend.backend() == "jax",
        )
        # What is unbuilt, Keras builds by running the network without numbers: seconds for nothing. And TensorFlow
        # traces a step twice when the first trace creates variables: half the minutes NASNetLarge takes.
        optimizer.build(self.trainable_variables)
        anything = keras.ops.ones((1, network.output_shape[-1]))
        self.compute_loss(None, anything, anything)
        self.compute_metrics(None, anything, anything)
        self.reset_metrics()

    def compute_loss(self, *arguments, **keywords):
        """Eq. 1 of one batch."""
        norm = self.l2 / 2 * square_norm(self.trainable_variables)
        # TensorFlow sums the losses of all copies; Keras has divided its own.
        return super().compute_loss(*arguments, **keywords) + norm / replicas()
