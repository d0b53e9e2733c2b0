"""Several GPUs for one training, by the backend's own way of sharing out a batch."""

from scenes.learning.backend import keras


def use_all() -> None:
    """Share each batch among this process' GPUs, where there are several. Networks must be built after it.

    By TensorFlow's MirroredStrategy, or by Keras' DataParallel under JAX, which wants batches that divide by their
    number; under torch Keras has no such thing and uses the first.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow

        if len(tensorflow.config.list_logical_devices("GPU")) > 1:
            tensorflow.distribute.experimental_set_strategy(tensorflow.distribute.MirroredStrategy())
    elif keras.backend.backend() == "jax" and len(keras.distribution.list_devices()) > 1:
        keras.distribution.set_distribution(keras.distribution.DataParallel())


def replicas() -> int:
    """Over how many copies of the network TensorFlow sums a loss; the other backends know one."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow

    return tensorflow.distribute.get_strategy().num_replicas_in_sync
