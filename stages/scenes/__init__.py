"""The small library that the stage scripts share: formats, spectrograms, networks, fusion, evaluation."""
