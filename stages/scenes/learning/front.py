"""The preprocessing in front of a network, a Keras model of its own, on the device that runs the network."""

from scenes.learning.backend import keras


def behind(front: keras.Model, network: keras.Model) -> keras.Model:
    """A network with the preprocessing in front of it: from inputs as they are on disk to its outputs."""
    return keras.Model(front.input, network(front.output), name=network.name)


def as_stored(dimension: int) -> keras.Model:
    """No preprocessing, of vectors `[n, dimension]`."""
    vectors = keras.Input((dimension,))
    return keras.Model(vectors, keras.layers.Identity(dtype="float32")(vectors), name="preprocessing")
