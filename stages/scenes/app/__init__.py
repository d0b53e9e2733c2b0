"""The trained classifiers on recordings of one's own, second by second."""
