"""The one training loop: mixup, Kullback-Leibler loss with L2 (the paper, Eq. 1), Adam, the last or the best epoch."""

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from scenes.dataset.tables import SECONDS, known_labels, labels
from scenes.learning.backend import keep_graphs_as_traced, keras
from scenes.learning.batch_norm import keep_time_constant, reestimate
from scenes.learning.batches import Batches, Load, Samples, ShuffledBatches
from scenes.learning.callbacks import BEST, HISTORY_COLUMNS, TIMING_COLUMNS, BestEpoch, Checkpoint, EpochLog
from scenes.learning.front import behind
from scenes.learning.gpus import draw_apart, on_gpu, replicas, share_averages, use_all
from scenes.learning.inference import BATCH, batch_size, finite
from scenes.learning.memory import said_if_exhausted
from scenes.learning.mixup import MixedBatches, check, mixtures_of
from scenes.learning.optimizer import adam
from scenes.learning.precision import policy
from scenes.learning.trainer import Trainer
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
    micro_batch : int or None
        Samples after mixup that are on the device at once, see `MixedBatches`; None, all of a batch. A step of Adam is
        by the mean of a batch's gradients all the same. What a network keeps for the backward pass, most of the memory
        of a training, grows with it. Batch norm normalises by a micro-batch.
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
    save_minutes : float
        How old the state for a resume may get, see `Checkpoint`.
    """

    epochs: options.Epochs = 100
    batch: options.Batch = 100
    micro_batch: options.MicroBatch = None
    seconds: options.Seconds = 10
    lr: options.LearningRate = 1e-4
    l2: options.L2 = 1e-4
    mixup: options.Mixup = ("beta", "original", "uniform")
    mixup_alpha: options.MixupAlpha = 0.4
    reestimate_batch_norm: options.Reestimate = False
    seed: options.Seed = 0
    precision: options.Precision = "float32"
    save_minutes: options.SaveMinutes = 10


def prepare(recipe: Recipe) -> None:
    """Set up Keras for a training, before the network is built: seed, precision, all GPUs for a batch in one piece.

    In pieces it is trained on one GPU: Keras cannot sum up the gradients of several.
    """
    keras.utils.set_random_seed(recipe.seed)
    keras.config.set_dtype_policy(policy(recipe.precision))
    if recipe.micro_batch in (None, mixtures_of(recipe.mixup) * (recipe.batch // 2)):
        use_all()


def train(
    network: keras.Model,
    front: keras.Model,
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
    front : Model
        The preprocessing, from inputs as they are on disk to the network's.
    load : callable
        From clips and seconds, int `[n]` each, to inputs as they are on disk, `[n, ...]`, an array or a tuple of them.
    split, classes : DataFrame
        As read by `scenes.dataset.tables`; clips without all of `media` are left out.
    media : list of str
        `audio`, `video` or both: what the network needs of a clip.
    inputs : list of Path
        The files that `load` reads, for telling whether an interrupted training may go on.
    model, history : Path
        Where to write the weights (`.weights.h5`, without optimiser) and the table of epochs. How long these took is
        written beside it (`.timing.csv`), since no two trainings take the same time: the table itself is hashed. Of an
        epoch that was interrupted it is the time since the resume.
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
        its parameters, memory does not suffice, or the training diverges: a loss or a weight is not finite. `model` and
        `history` are then not written, and the last good state stays for a resume.
    """
    check(recipe.mixup)
    present = (split[media] != "").all(axis=1)
    clips = np.flatnonzero(present & (split["fold"] == "train"))
    validation_clips = np.flatnonzero(present & (split["fold"] == "validation"))
    if not len(clips):
        raise InputError(f"no train clip has {' and '.join(media)}: nothing to train {model} on")
    if keep == "best" and not len(validation_clips):
        raise InputError(f"{model}: no clip is left for validation, by which the best epoch is chosen")
    known_labels(split.iloc[clips], classes)  # refuses a class that is not among them
    targets = np.eye(len(classes), dtype=np.float32)[labels(split, classes)]

    batches = MixedBatches(
        load, clips, targets, recipe.batch, recipe.seconds, recipe.seed, units,
        parts=recipe.mixup, alpha=recipe.mixup_alpha, micro_batch=recipe.micro_batch,
    )  # fmt: skip
    if batches.pairs_at_once % replicas():
        raise InputError(
            f"{model}: {batches.pairs_at_once} pairs of samples at once cannot be shared out evenly among {replicas()} "
            "GPUs; change batch or micro_batch, or name fewer GPUs in CUDA_VISIBLE_DEVICES"
        )
    if on_gpu():
        batches.workers = batches.max_queue_size = THREADS
    whole, validation = behind(front, network), None
    if len(validation_clips):
        spaced = np.linspace(0, units, recipe.seconds, endpoint=False).astype(int)  # as many of a clip as an epoch has

        def load_spaced(clips: np.ndarray, number: np.ndarray) -> Samples:
            return load(clips, spaced[number])

        validation = Batches(load_spaced, validation_clips, targets, batch_size(whole), recipe.seconds)
    if recipe.epochs * len(batches) < SHORT:
        keep_graphs_as_traced()
    folder = resume_folder(model, inputs)
    keep_time_constant(network, batches.micro_batches)
    with said_if_exhausted(model, network, batches):
        trainer = Trainer(front, network, batches.mixtures, adam(recipe.lr, batches.micro_batches), recipe.l2)
    log = EpochLog(model, whole, batches, recipe.epochs, validation)
    best = BestEpoch(folder / BEST, network, log) if keep == "best" else None
    # Between steps, the moving averages of several GPUs differ, which a state cannot tell.
    minutes = recipe.save_minutes if replicas() == 1 else math.inf
    checkpoint = Checkpoint(folder, batches, minutes, log, best)
    # Keras leaves out of its files how far the random numbers of dropout had got: one draw per micro-batch.
    drawn = [variable for variable in trainer.variables if variable.name == "seed_generator_state"]

    def start_epoch(epoch: int, logs: dict | None = None) -> None:
        for state in drawn:
            of_epoch = batches.start + len(batches)
            state.assign([int(keras.ops.convert_to_numpy(state)[0]), epoch * of_epoch + batches.start])
        draw_apart(network)
        batches.shuffle(epoch)

    def start_micro_batch(number: int, logs: dict | None = None) -> None:
        if keras.backend.backend() == "torch":  # its dropout draws from the process' generator: so after a kill too
            seeds = np.random.SeedSequence([recipe.seed, batches.epoch, batches.start + number])
            sys.modules["torch"].manual_seed(int(seeds.generate_state(1)[0]))

    callbacks = [
        keras.callbacks.LambdaCallback(
            start_epoch, lambda *_: share_averages(network), on_train_batch_begin=start_micro_batch
        ),
        log,
        *([best] if best else []),
        checkpoint,
    ]
    epoch, batches.start = checkpoint.restore(trainer)
    with log.bar, said_if_exhausted(model, network, batches):
        while epoch < recipe.epochs:
            until = epoch + 1 if batches.start else recipe.epochs
            # The batches are shuffled, anew in each epoch: Keras' own order would be another after a kill.
            trainer.fit(batches, epochs=until, initial_epoch=epoch, shuffle=False, verbose=0, callbacks=callbacks)
            epoch, batches.start = until, 0
    if best:
        network.load_weights(best.path)
    if recipe.reestimate_batch_norm:
        reestimate(whole, ShuffledBatches(load, clips, targets, BATCH, recipe.seconds, recipe.seed, units))
    if not finite(network):
        raise log.diverged("its weights are not finite after the last epoch")
    write_csv(history, log.table()[HISTORY_COLUMNS])
    write_csv(history.with_suffix(".timing.csv"), log.table()[TIMING_COLUMNS])
    with writing(model) as temporary:
        network.save_weights(temporary)
    finish(folder)
