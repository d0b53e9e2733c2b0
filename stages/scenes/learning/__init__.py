"""What every stage that runs a network by Keras has: the backend, batches, mixup, precision, inference."""
