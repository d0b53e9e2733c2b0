"""The numbers in a network's layers, float32 or bfloat16."""

from scenes.stage.options import PrecisionName


def policy(precision: PrecisionName) -> str:
    """The Keras dtype policy of a precision: `float32`, or `mixed_bfloat16`, whose weights stay in float32."""
    return "mixed_bfloat16" if precision == "bfloat16" else "float32"
