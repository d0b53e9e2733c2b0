"""Training and inference by Keras: the backend, batches, mixup, precision, the training loop."""
