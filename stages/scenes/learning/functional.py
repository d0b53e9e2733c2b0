"""Running a Keras model layer by layer without keeping what no later layer reads."""

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from scenes.learning.backend import keras

# Of each model, its nodes in the order they run, each with the tensors that no later one reads.
_plans: WeakKeyDictionary[Any, list[tuple[Any, set[int]]]] = WeakKeyDictionary()


def run_through_graph(
    function: Any, inputs: Any, operation_fn: Callable = lambda operation: operation, call_fn: Callable | None = None
) -> Any:
    """In place of `keras.src.ops.function.Function._run_through_graph`, which keeps the output of every layer.

    Where layers run one by one, under torch and in TensorFlow's eager mode, NASNetLarge at 331 pixels would take 1.3 GB
    a picture so.
    """
    if function not in _plans:
        _plans[function] = _plan(function)
    tensors = dict(zip(map(id, function.inputs), keras.tree.flatten(inputs), strict=True))
    for node, done in _plans[function]:
        arguments, keywords = node.arguments.fill_in(tensors)
        operation = operation_fn(function._get_operation_for_node(node))
        outputs = call_fn(operation, *arguments, **keywords) if call_fn else operation(*arguments, **keywords)
        del arguments, keywords
        tensors.update(zip(map(id, node.outputs), keras.tree.flatten(outputs), strict=True))
        for tensor in done:
            tensors.pop(tensor, None)
    outputs = [tensors[id(output)] for output in function.outputs]
    return keras.tree.pack_sequence_as(function._outputs_struct, outputs)


def _plan(function: Any) -> list[tuple[Any, set[int]]]:
    by_depth = function._nodes_by_depth
    nodes = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth] if node.operation]
    kept, plan = {id(output) for output in function.outputs}, []
    for node in reversed([node for node in nodes if not node.is_input]):
        done = {id(tensor) for tensor in (*node.input_tensors, *node.outputs)} - kept
        kept |= done
        plan.append((node, done))
    return plan[::-1]
