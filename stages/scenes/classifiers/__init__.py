"""The networks that give class probabilities, and their inputs."""
