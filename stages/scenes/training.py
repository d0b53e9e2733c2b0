"""The one training loop: mixup, Kullback-Leibler loss with L2 (the paper, Eq. 1), Adam, the last or the best epoch."""

import time
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
from scenes.learning.inference import BATCH, batch_size, predict
from scenes.learning.mixup import Samples, check
from scenes.learning.precision import policy
from scenes.optimizer import adam, square_norm
from scenes.stage.cli import stop_if_asked
from scenes.stage.dataset import SECONDS, labels
from scenes.stage.errors import InputError
from scenes.stage.options import PrecisionName
from scenes.stage.outputs import write_csv, writing
from scenes.stage.resume import finish, resume_folder

# A training of fewer steps is over before a better graph would pay.
SHORT = 200
# Threads that make batches ahead for a GPU, whose step may be as short as the making of a batch.
THREADS = 4
HISTORY_COLUMNS = ["epoch", "accuracy", "loss", "val_accuracy", "val_loss", "lr", "seconds"]


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
        Seed of the order and the mixtures.
    keep : str
        Which epoch's weights: the `last`, or the `best`, of lowest validation loss.
    """

    epochs: int
    batch: int
    seconds: int
    lr: float
    l2: float
    mixup: list[str]
    mixup_alpha: float
    reestimate_batch_norm: bool
    seed: int
    keep: Literal["last", "best"] = "last"


def prepare(precision: PrecisionName, seed: int) -> None:
    """Set up Keras for a training, before the network is built: seed, precision, all GPUs."""
    keras.utils.set_random_seed(seed)
    keras.config.set_dtype_policy(policy(precision))
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
        Where to write the weights (`.weights.h5`, without optimiser) and the table of epochs.
    recipe : Recipe
        How to train.
    units : int
        How many inputs a clip has, its ten seconds or others.

    Raises
    ------
    InputError
        If no train clip has the modality, the best epoch is wanted without a validation clip, or mixup cannot run with
        its parameters.
    """
    check(recipe.mixup)
    present = (split[np.atleast_1d(modality)] != "").all(axis=1)
    clips = np.flatnonzero(present & (split["fold"] == "train"))
    validation_clips = np.flatnonzero(present & (split["fold"] == "validation"))
    if not len(clips):
        raise InputError(f"no train clip has {' and '.join(np.atleast_1d(modality))}: nothing to train {model} on")
    if recipe.keep == "best" and not len(validation_clips):
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
    checkpoint, best = Checkpoint(folder), folder / "best.weights.h5"
    log = EpochLog(folder / "history.csv", model.name, network, validation)

    def start_epoch(epoch: int, logs: dict | None = None) -> None:
        # Torch's dropout draws from the process' generator: after a kill too, as it would have.
        keras.utils.set_random_seed(int(np.random.SeedSequence([recipe.seed, epoch]).generate_state(1)[0]))
        batches.shuffle(epoch)

    epochs_seen = checkpoint.restore(trainer)
    draw_apart(network)
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
                *([BestEpoch(best, network, log)] if recipe.keep == "best" else []),
                checkpoint,
            ],
        )
    if recipe.keep == "best":
        network.load_weights(best)
    if recipe.reestimate_batch_norm:
        reestimate(network, ShuffledBatches(load, clips, targets, BATCH, recipe.seconds, recipe.seed, units))
    write_csv(history, log.table())
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
    """The state of a training on disk, whole at any moment, for going on after a kill.

    Saved after each epoch but the last, after which the network itself is, and not while less time has passed than a
    saving takes: a kill costs at most an epoch, or as long as a saving.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.saved, self.cost = time.perf_counter(), 0.0

    def restore(self, trainer: keras.Model) -> int:
        """Load the last state, if there is one, and return the number of epochs that it has seen."""
        states = sorted(self.folder.glob(self._name(trainer, "*")))
        if not states:
            return 0
        trainer.load_weights(states[-1])
        # Keras leaves out of its files how far each dropout's random numbers had got: one draw a step.
        steps = int(keras.ops.convert_to_numpy(trainer.optimizer.iterations))
        for layer in trainer.layers:
            if isinstance(layer, keras.layers.Dropout):
                state = layer.seed_generator.state
                state.assign([int(keras.ops.convert_to_numpy(state)[0]), steps])
        return int(states[-1].name[len("epoch-") :].partition(".")[0])

    def on_epoch_end(self, epoch: int, logs=None) -> None:
        start = time.perf_counter()
        if epoch + 1 == self.params["epochs"] or start - self.saved < self.cost:
            return
        before = list(self.folder.glob("epoch-*"))
        with writing(self.folder / self._name(self.model, f"{epoch + 1:06}")) as temporary:
            self.model.save_weights(temporary)
        for state in before:
            state.unlink()
        self.saved = time.perf_counter()
        self.cost = self.saved - start

    @staticmethod
    def _name(trainer: keras.Model, epoch: str) -> str:
        # Keras would begin anew, without a word, the moments that another backend or number of GPUs has kept otherwise.
        return f"epoch-{epoch}.{type(trainer.optimizer).__name__}.weights.h5"


class BestEpoch(keras.callbacks.Callback):
    """The weights of the epoch of lowest validation loss so far, on disk."""

    def __init__(self, path: Path, network: keras.Model, log: "EpochLog") -> None:
        super().__init__()
        self.path, self.network, self.log = path, network, log

    def on_epoch_end(self, epoch: int, logs=None) -> None:
        losses = self.log.table()["val_loss"]
        if epoch == 0 or losses.iloc[-1] == losses.min():
            with writing(self.path) as temporary:
                self.network.save_weights(temporary)


class EpochLog(keras.callbacks.Callback):
    """A row a finished epoch with its validation, kept on disk for a training that goes on later; the progress bar."""

    def __init__(self, path: Path, name: str, network: keras.Model, validation: Batches | None) -> None:
        super().__init__()
        self.path, self.network, self.validation = path, network, validation
        self.rows: list[dict] = pd.read_csv(path).to_dict("records") if path.exists() else []
        self.bar = tqdm(desc=name, unit="step")

    def on_epoch_begin(self, epoch: int, logs=None) -> None:
        if self.bar.total is None:
            self.bar.reset(total=self.params["epochs"] * self.params["steps"])
            self.bar.update(epoch * self.params["steps"])
        self.start = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs=None) -> None:
        self.bar.update()
        stop_if_asked()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        seconds = round(time.perf_counter() - self.start, 1)
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        row = {"epoch": epoch + 1, **(logs or {}), **self.validate(), "lr": rate, "seconds": seconds}
        self.rows = [*self.rows[:epoch], row]
        write_csv(self.path, self.table())
        self.bar.set_postfix(loss=f"{row['loss']:.3f}", accuracy=f"{row['accuracy']:.2f}")

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
        return pd.DataFrame(self.rows, columns=HISTORY_COLUMNS)
