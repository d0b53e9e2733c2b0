"""The synthetic data set: audio and video of made-up scenes."""
