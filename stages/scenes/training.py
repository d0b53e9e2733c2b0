"""The one training loop: mixup, Kullback-Leibler loss with L2 (the paper, Eq. 1), Adam, the last or the best epoch."""

import shutil
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from tqdm import tqdm

from scenes.learning.backend import keep_graphs_as_traced, keras
from scenes.learning.batch_norm import reestimate
from scenes.learning.batches import Batches, Load, MixedBatches, ShuffledBatches
from scenes.learning.gpus import draw_apart, on_gpu, replicas, share_averages, use_all
from scenes.learning.inference import BATCH, batch_size, finite, predict
from scenes.learning.mixup import Samples, check
from scenes.learning.precision import policy
from scenes.optimizer import adam, square_norm
from scenes.stage import options
from scenes.stage.cli import stop_if_asked
from scenes.stage.dataset import SECONDS, labels
from scenes.stage.errors import InputError
from scenes.stage.outputs import naming, write_csv, writing
from scenes.stage.resume import finish, resume_folder

# A training of fewer steps is over before a better graph would pay.
SHORT = 200
# Threads that make batches ahead for a GPU, whose step may be as short as the making of a batch.
THREADS = 4
# The files of a state, see `Checkpoint`.
STATE, HISTORY, BEST = "state.weights.h5", "history.csv", "best.weights.h5"
HISTORY_COLUMNS = ["epoch", "accuracy", "loss", "val_accuracy", "val_loss", "lr"]
TIMING_COLUMNS = ["epoch", "seconds"]
LOG_COLUMNS = [*HISTORY_COLUMNS, "seconds"]


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
    modality: str | list[str],
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
        As read by `scenes.stage.dataset`; clips without `modality` (`audio`, `video` or both) are left out.
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
        If no train clip has the modality, the best epoch is wanted without a validation clip, mixup cannot run with
        its parameters, or the training diverges: a loss or a weight is not finite. `model` and `history` are then not
        written, and the last good state stays for a resume.
    """
    check(recipe.mixup)
    present = (split[np.atleast_1d(modality)] != "").all(axis=1)
    clips = np.flatnonzero(present & (split["fold"] == "train"))
    validation_clips = np.flatnonzero(present & (split["fold"] == "validation"))
    if not len(clips):
        raise InputError(f"no train clip has {' and '.join(np.atleast_1d(modality))}: nothing to train {model} on")
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


class Checkpoint(keras.callbacks.Callback):
    """The last two states of a training on disk, for a resume after a kill.

    A state is a folder: the weights with the optimiser's moments, the history up to its epoch, and the weights of the
    best epoch so far where that is kept. It gets its name when it is whole. A state is saved after each epoch but the
    last, after which the network itself is, and not while less time has passed than saving takes: a kill costs at most
    an epoch, or as long as saving takes.

    Parameters
    ----------
    folder : Path
        Where the states are.
    log : EpochLog
        Whose rows are saved and restored.
    best : BestEpoch or None
        Whose weights are saved and restored.
    """

    def __init__(self, folder: Path, log: "EpochLog", best: "BestEpoch | None") -> None:
        super().__init__()
        self.folder, self.log, self.best = folder, log, best
        self.saved, self.cost = time.perf_counter(), 0.0

    def restore(self, trainer: Trainer) -> int:
        """Load the last usable state and return its number of epochs, 0 without one.

        States that are damaged are removed, with one warning.
        """
        states = self._states()[::-1]
        variables = [*trainer.variables, *trainer.optimizer.variables] if states else []
        start = [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]
        epoch, damage = 0, []
        for state in states:
            try:
                epoch = self._load(state, trainer)
                break
            except Exception as error:  # each library has its own for a damaged file
                reason = str(error).partition("\n")[0].partition(". ")[0]
                damage.append(f"{state}: unusable ({reason})")
                shutil.rmtree(state)
        else:
            for variable, value in zip(variables, start, strict=True):
                variable.assign(value)
        if damage:
            again = f"resumes after epoch {epoch}" if epoch else "starts again"
            tqdm.write(f"warning: {damage[0]}; the training {again}", file=sys.stderr)
        return epoch

    def _load(self, state: Path, trainer: Trainer) -> int:
        epoch = int(state.name.removeprefix("epoch-"))
        rows = pd.read_csv(state / HISTORY)
        if list(rows.columns) != LOG_COLUMNS or list(rows["epoch"]) != list(range(1, epoch + 1)):
            raise ValueError(f"{HISTORY} is not of {epoch} epochs")
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # Keras only warns of another optimiser
            for model, file in [*([(self.best.network, BEST)] if self.best else []), (trainer, STATE)]:
                model.load_weights(state / file)
                if not finite(model):
                    raise ValueError(f"{file} holds weights that are not finite")
        if not finite(trainer.optimizer):
            raise ValueError(f"{STATE} holds moments that are not finite")
        self.log.rows = rows.to_dict("records")
        if self.best:
            shutil.copy(state / BEST, self.best.path)
        return epoch

    def on_epoch_end(self, epoch: int, logs=None) -> None:
        start = time.perf_counter()
        if epoch + 1 == self.params["epochs"] or start - self.saved < self.cost:
            return
        if not (finite(self.model) and finite(self.model.optimizer)):
            raise self.log.diverged(f"its weights or moments are not finite after epoch {epoch + 1}")
        older = self._states()[:-1]
        state, unfinished = self.folder / f"epoch-{epoch + 1:06}", self.folder / "unfinished"
        with naming(state):
            try:
                unfinished.mkdir(exist_ok=True)
                self.model.save_weights(unfinished / STATE)
                write_csv(unfinished / HISTORY, self.log.table())
                if self.best:
                    shutil.copy(self.best.path, unfinished / BEST)
                unfinished.rename(state)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
        for folder in older:
            shutil.rmtree(folder)
        self.saved = time.perf_counter()
        self.cost = self.saved - start

    def _states(self) -> list[Path]:
        return sorted(self.folder.glob("epoch-" + 6 * "[0-9]"))


class BestEpoch(keras.callbacks.Callback):
    """The weights of the epoch of lowest validation loss so far, on disk."""

    def __init__(self, path: Path, network: keras.Model, log: "EpochLog") -> None:
        super().__init__()
        self.path, self.network, self.log = path, network, log

    def on_epoch_end(self, epoch: int, logs=None) -> None:
        losses = self.log.table()["val_loss"]
        if losses.iloc[-1] == losses.min():
            with writing(self.path) as temporary:
                self.network.save_weights(temporary)


class EpochLog(keras.callbacks.Callback):
    """A row for each finished epoch with its validation; the progress bar; the end of a training that diverges."""

    def __init__(self, path: Path, network: keras.Model, validation: Batches | None) -> None:
        super().__init__()
        self.path, self.network, self.validation = path, network, validation
        self.rows: list[dict] = []
        self.bar = tqdm(desc=path.name, unit="step")

    def on_epoch_begin(self, epoch: int, logs=None) -> None:
        if self.bar.total is None:
            self.bar.reset(total=self.params["epochs"] * self.params["steps"])
            self.bar.update(epoch * self.params["steps"])
        self.start, self.epoch = time.perf_counter(), epoch + 1

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.bar.update()
        stop_if_asked()
        # The mean over the epoch's steps, which Keras has fetched from the device already; so has it seen, by L2, every
        # weight before the step.
        if not np.isfinite(logs["loss"]):
            if self.epoch == 1 and batch == 0:
                raise InputError(
                    f"{self.path}: the loss of the initial weights is {logs['loss']}: an input or a weight is not "
                    "finite; run the stage of the features again"
                )
            raise self.diverged(f"its loss is {logs['loss']} at epoch {self.epoch}, step {batch + 1}")

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        seconds = round(time.perf_counter() - self.start, 1)
        row = {"epoch": epoch + 1, **(logs or {}), **self.validate(), "lr": self.rate(), "seconds": seconds}
        if not np.isfinite(row.get("val_loss", 0)):
            raise self.diverged(f"its validation loss is {row['val_loss']} after epoch {epoch + 1}")
        self.rows.append(row)
        self.bar.set_postfix(loss=f"{row['loss']:.3f}", accuracy=f"{row['accuracy']:.2f}")

    def rate(self) -> float:
        """The learning rate."""
        return float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))

    def diverged(self, how: str) -> InputError:
        """The error that ends a training whose numbers are not finite."""
        return InputError(f"{self.path}: the training diverged: {how}, with learning rate {self.rate():g}; lower --lr")

    def validate(self) -> dict[str, float]:
        """Accuracy and loss on the validation clips, without mixup and without L2; nothing where there are none."""
        if self.validation is None:
            return {}
        targets = self.validation.targets[self.validation.pairs[0]]
        probabilities = predict(self.network, self.validation, "validation")
        correct = probabilities.argmax(axis=1) == targets.argmax(axis=1)
        losses = keras.losses.kl_divergence(targets, probabilities)
        return {"val_accuracy": float(correct.mean()), "val_loss": float(keras.ops.mean(losses))}

    def table(self) -> pd.DataFrame:
        """The epochs so far, columns `epoch,accuracy,loss,val_accuracy,val_loss,lr,seconds`."""
        return pd.DataFrame(self.rows, columns=LOG_COLUMNS)
