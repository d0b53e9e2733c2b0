"""What a training does between steps and epochs: states for a resume, the best epoch, the history and its checks."""

import json
import shutil
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from scenes.learning.backend import keras
from scenes.learning.batches import Batches
from scenes.learning.inference import finite, predict
from scenes.learning.mixup import MixedBatches
from scenes.stage.cli import stop_if_asked
from scenes.stage.errors import InputError
from scenes.stage.outputs import naming, write_csv, writing

# The files of a state, see `Checkpoint`.
STATE, METRICS, HISTORY, BEST = "state.weights.h5", "metrics.json", "history.csv", "best.weights.h5"
HISTORY_COLUMNS = ["epoch", "accuracy", "loss", "val_accuracy", "val_loss", "lr"]
TIMING_COLUMNS = ["epoch", "seconds"]
LOG_COLUMNS = [*HISTORY_COLUMNS, "seconds"]


class Checkpoint(keras.callbacks.Callback):
    """The last two states of a training on disk, for a resume after a kill.

    A state is a folder: the weights with the optimiser's moments, the metrics of the epoch so far, the history up to
    it, and the weights of the best epoch so far where that is kept. It gets its name when it is whole. A state is saved
    after each epoch but the last, after which the network itself is, and within an epoch after a step when the last one
    is `minutes` old; not while less time has passed than saving takes. So a kill costs at most an epoch, these minutes,
    or as long as saving takes.

    Parameters
    ----------
    folder : Path
        Where the states are.
    batches : MixedBatches
        What the training is shown; its `start` is the first micro-batch of the present epoch that it is shown.
    minutes : float
        How old a state may get within an epoch.
    log : EpochLog
        Whose rows are saved and restored.
    best : BestEpoch or None
        Whose weights are saved and restored.
    """

    def __init__(
        self, folder: Path, batches: MixedBatches, minutes: float, log: "EpochLog", best: "BestEpoch | None"
    ) -> None:
        super().__init__()
        self.folder, self.batches, self.minutes, self.log, self.best = folder, batches, minutes, log, best
        self.saved, self.cost = time.perf_counter(), 0.0
        self.metrics: list[list[float]] = []  # of the epoch that goes on, until it does

    def restore(self, trainer: keras.Model) -> tuple[int, int]:
        """Load the last usable state and return its number of epochs and of micro-batches in the next, 0 without one.

        States that are damaged are removed, with one warning.
        """
        states = self._states()[::-1]
        variables = [*trainer.variables, *trainer.optimizer.variables] if states else []
        start = [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]
        epoch, batch, damage = 0, 0, []
        for state in states:
            try:
                epoch, batch = self._load(state, trainer)
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
            again = f"resumes within epoch {epoch + 1}" if batch else again
            tqdm.write(f"warning: {damage[0]}; the training {again}", file=sys.stderr)
        return epoch, batch

    def _load(self, state: Path, trainer: keras.Model) -> tuple[int, int]:
        epoch, batch = map(int, state.name.split("-")[1:])
        rows = pd.read_csv(state / HISTORY)
        if list(rows.columns) != LOG_COLUMNS or list(rows["epoch"]) != list(range(1, epoch + 1)):
            raise ValueError(f"{HISTORY} is not of {epoch} epochs")
        metrics = json.loads((state / METRICS).read_text(encoding="utf-8"))
        shapes = [tuple(variable.shape) for variable in trainer.metrics_variables]
        if [np.shape(value) for value in metrics] != shapes or not all(np.isfinite(value).all() for value in metrics):
            raise ValueError(f"{METRICS} is not of this training")
        best = [(self.best.network, BEST)] if self.best and epoch else []
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # Keras only warns of another optimiser
            for model, file in [*best, (trainer, STATE)]:
                model.load_weights(state / file)
                if not finite(model):
                    raise ValueError(f"{file} holds weights that are not finite")
        if not finite(trainer.optimizer):
            raise ValueError(f"{STATE} holds moments that are not finite")
        self.log.rows, self.metrics = rows.to_dict("records"), metrics if batch else []
        if best:
            shutil.copy(state / BEST, self.best.path)
        return epoch, batch

    def on_epoch_begin(self, epoch: int, logs=None) -> None:
        for variable, value in zip(self.model.metrics_variables, self.metrics, strict=False):
            variable.assign(value)
        self.epoch, self.metrics = epoch, []

    def on_train_batch_end(self, batch: int, logs=None) -> None:
        seen = self.batches.start + batch + 1
        old = time.perf_counter() - self.saved >= max(60 * self.minutes, self.cost)
        if old and not seen % self.batches.micro_batches and batch + 1 < len(self.batches):
            self._save(self.epoch, seen, f"at epoch {self.epoch + 1}, step {seen // self.batches.micro_batches}")

    def on_epoch_end(self, epoch: int, logs=None) -> None:
        if epoch + 1 < self.log.epochs and time.perf_counter() - self.saved >= self.cost:
            self._save(epoch + 1, 0, f"after epoch {epoch + 1}")

    def _save(self, epoch: int, batch: int, when: str) -> None:
        start = time.perf_counter()
        if not (finite(self.model) and finite(self.model.optimizer)):
            raise self.log.diverged(f"its weights or moments are not finite {when}")
        older = self._states()[:-1]
        state, unfinished = self.folder / f"epoch-{epoch:06}-{batch:09}", self.folder / "unfinished"
        metrics = [keras.ops.convert_to_numpy(variable).tolist() for variable in self.model.metrics_variables]
        with naming(state):
            try:
                unfinished.mkdir(exist_ok=True)
                self.model.save_weights(unfinished / STATE)
                (unfinished / METRICS).write_text(json.dumps(metrics), encoding="utf-8")
                write_csv(unfinished / HISTORY, self.log.table())
                if self.best and epoch:
                    shutil.copy(self.best.path, unfinished / BEST)
                unfinished.rename(state)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
        for folder in older:
            shutil.rmtree(folder)
        self.saved = time.perf_counter()
        self.cost = self.saved - start

    def _states(self) -> list[Path]:
        return sorted(self.folder.glob("epoch-" + 6 * "[0-9]" + "-" + 9 * "[0-9]"))


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
    """A row for each finished epoch with its validation; the progress bar; the end of a training that diverges.

    Parameters
    ----------
    path : Path
        The trained network's, for the bar and errors.
    network : Model
        What is validated, with its preprocessing.
    batches : MixedBatches
        What the training is shown.
    epochs : int
        Passes over them.
    validation : Batches or None
        Of the validation clips, if there are any.
    """

    def __init__(
        self, path: Path, network: keras.Model, batches: MixedBatches, epochs: int, validation: Batches | None
    ) -> None:
        super().__init__()
        self.path, self.network, self.batches, self.epochs = path, network, batches, epochs
        self.validation = validation
        self.rows: list[dict] = []
        self.at_once = batches.mixtures * batches.pairs_at_once
        self.bar = tqdm(desc=path.name, unit="sample", total=epochs * len(batches) * self.at_once)

    def on_epoch_begin(self, epoch: int, logs=None) -> None:
        seen = epoch * (self.batches.start + len(self.batches)) + self.batches.start
        self.bar.update(seen * self.at_once - self.bar.n)  # after a resume
        self.start, self.epoch = time.perf_counter(), epoch + 1

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        seen = self.batches.start + batch + 1
        self.bar.update(self.at_once)
        stop_if_asked()
        # The mean over the epoch's steps, which Keras has fetched from the device already; so has it seen, by L2, every
        # weight before the step.
        if not np.isfinite(logs["loss"]):
            if self.epoch == 1 and seen == 1:
                raise InputError(
                    f"{self.path}: the loss of the initial weights is {logs['loss']}: an input or a weight is not "
                    "finite; run the stage of the features again"
                )
            step = -(-seen // self.batches.micro_batches)
            raise self.diverged(f"its loss is {logs['loss']} at epoch {self.epoch}, step {step}")

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
