"""Whether there is a GPU; several of them for one training, by TensorFlow's own way of sharing out a batch."""

from scenes.learning.backend import keras


def on_gpu() -> bool:
    """Whether Keras computes on a GPU."""
    device = str(keras.ops.ones(()).device).lower()
    return "gpu" in device or "cuda" in device


def use_all() -> None:
    """Share each batch among all GPUs under TensorFlow; the other backends use the first. Build the network after it.

    Each GPU normalises by its own part of a batch. See also `draw_apart` and `share_averages`.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow

        if len(tensorflow.config.list_logical_devices("GPU")) > 1:
            tensorflow.distribute.experimental_set_strategy(tensorflow.distribute.MirroredStrategy())


def draw_apart(network: keras.Model) -> None:
    """Give each GPU's copy of the network dropout masks of its own: Keras draws the same ones on all."""
    if replicas() == 1:
        return
    for layer in network.layers:
        if isinstance(layer, keras.layers.Dropout) and layer.rate:  # without a rate there is nothing to draw
            for number, copy in enumerate(layer.seed_generator.state.value.values):
                copy.assign(copy + [number, 0])  # the seed and how far it has got


def share_averages(network: keras.Model) -> None:
    """Replace batch norm's moving averages by their mean over the GPUs: each has seen its part of a batch only.

    They are linear in what is seen, so once an epoch is as good as after every step.
    """
    if replicas() == 1:
        return
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            for average in (layer.moving_mean, layer.moving_variance):
                copies = average.value.values
                average.assign(sum(copies) / len(copies))


def replicas() -> int:
    """How many copies of the network TensorFlow trains; 1 under the other backends."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow

    return tensorflow.distribute.get_strategy().num_replicas_in_sync
