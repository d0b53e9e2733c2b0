"""The model that is trained: mixup and preprocessing in front of a network, Eq. 1 (the paper) behind it."""

from scenes.learning.backend import keras
from scenes.learning.gpus import replicas
from scenes.learning.mixup import Mixture
from scenes.learning.optimizer import square_norm


class Trainer(keras.Model):
    """A model that trains a network's variables by Eq. 1 (the paper), on the micro-batches of `MixedBatches`.

    The loss is the mean over the samples of the Kullback-Leibler divergence plus `l2 / 2` times the sum of the squares
    of all trainable variables. The network itself stays uncompiled, so that its weights are saved without the
    optimiser's.

    Parameters
    ----------
    front : Model
        The preprocessing, from inputs as they are on disk to the network's.
    network : Model
        From inputs to probabilities `[batch, classes]`.
    mixtures : int
        Samples that mixup makes of a pair.
    optimizer : Optimizer
        Which takes a step each `gradient_accumulation_steps` micro-batches.
    l2 : float
        Lambda of Eq. 1.
    """

    def __init__(
        self,
        front: keras.Model,
        network: keras.Model,
        mixtures: int,
        optimizer: keras.optimizers.Optimizer,
        l2: float,
    ) -> None:
        ops, each = keras.ops, keras.tree.map_structure
        pairs = each(lambda stored: keras.Input((2, *stored.shape[1:]), dtype=stored.dtype), front.input)
        weights = keras.Input((mixtures,), dtype="float32")
        samples = each(lambda pair: ops.reshape(pair, (-1, *pair.shape[2:])), pairs)
        mixed = each(lambda samples: Mixture()(samples, weights), front(samples))
        probabilities = ops.reshape(network(mixed), (-1, mixtures, network.output_shape[-1]))
        super().__init__((pairs, weights), probabilities)
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
        anything = ops.ones((1, *probabilities.shape[1:]))
        self.compute_loss(None, anything, anything)
        self.compute_metrics(None, anything, anything)
        self.reset_metrics()

    def compute_loss(self, *arguments, **keywords):
        """Eq. 1 of one micro-batch."""
        norm = self.l2 / 2 * square_norm(self.trainable_variables)
        # TensorFlow sums the losses of all copies; Keras has divided its own.
        return super().compute_loss(*arguments, **keywords) + norm / replicas()
