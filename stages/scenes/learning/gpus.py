"""Several GPUs for one training, by TensorFlow's own way of sharing out a batch."""

from scenes.learning.backend import keras


def use_all() -> None:
    """Share each batch among all GPUs under TensorFlow; the other backends use the first. Build the network after it.

    Each GPU normalises by its own part of a batch and draws the same dropout masks; the first one's moving averages are
    kept.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow

        if len(tensorflow.config.list_logical_devices("GPU")) > 1:
            tensorflow.distribute.experimental_set_strategy(tensorflow.distribute.MirroredStrategy())


def replicas() -> int:
    """How many copies of the network TensorFlow trains; 1 under the other backends."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow

    return tensorflow.distribute.get_strategy().num_replicas_in_sync
