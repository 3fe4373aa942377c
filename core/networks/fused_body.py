"""The body of a classifier for inference: batch normalisation folded, convolutions fused.

The body is traced into a graph. Batch normalisation behind a convolution becomes part of its
weights. On a CPU a ReLU behind a convolution, and the addition of a residual branch, are computed
in the convolution's own pass over memory (oneDNN's pointwise form). Poolings by 2 x 2 keep no
positions of the maxima.
"""

from __future__ import annotations

import operator
from collections.abc import Callable

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights

_ADDITIONS = (operator.add, operator.iadd, torch.add)
_RELU_FUNCTIONS = (F.relu, torch.relu)
_TRACING_ERRORS = (fx.proxy.TraceError, TypeError, RuntimeError, NotImplementedError)


class FusedConvolution(nn.Module):
    """A convolution with a folded batch normalisation, an optional residual branch and ReLU.

    On a CPU oneDNN computes it in one pass, elsewhere the operations follow one another.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.padding, self.stride = convolution.padding, convolution.stride
        self.dilation, self.groups = convolution.dilation, convolution.groups
        self.relu = False
        # Whether nothing reads the residual branch afterwards, so that it may take the result.
        self.overwrites_residual = False
        self.weight = convolution.weight.detach()
        self.bias = None if convolution.bias is None else convolution.bias.detach()
        self._packed: Tensor | None = None
        self._packed_shape: tuple[int, ...] = ()

    def fold(self, norm: nn.BatchNorm2d) -> None:
        """Make a batch normalisation in evaluation mode part of the weights."""
        assert norm.running_mean is not None and norm.running_var is not None
        weight, bias = fuse_conv_bn_weights(
            self.weight,
            self.bias,
            norm.running_mean,
            norm.running_var,
            norm.eps,
            norm.weight,
            norm.bias,
        )
        self.weight, self.bias = weight.detach(), bias.detach()

    def convert(self, dtype: torch.dtype) -> None:
        """Convert the weights to the number format of the computation."""
        self.weight = self.weight.to(dtype).contiguous(memory_format=torch.channels_last)
        self.bias = None if self.bias is None else self.bias.to(dtype)

    def _pack(self, x: Tensor) -> Tensor:
        """Return the weights in the memory order that oneDNN prefers for inputs of this shape.

        It depends on the number of patches too: with the order for one patch, some convolutions of
        a batch take twice as long.
        """
        shape = tuple(x.shape)
        if self._packed is None or shape != self._packed_shape:
            self._packed_shape = shape
            self._packed = torch.ops.mkldnn._reorder_convolution_weight(
                self.weight, self.padding, self.stride, self.dilation, self.groups, list(x.shape)
            )
        return self._packed

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Return the maps [n, units, h', w'] of x [n, channels, h, w]."""
        if x.device.type != "cpu" or not torch.backends.mkldnn.is_available():
            y = F.conv2d(
                x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
            )
            y = y if residual is None else y.add_(residual)
            return y.relu_() if self.relu else y
        weight, form = self._pack(x), (self.padding, self.stride, self.dilation, self.groups)
        if residual is None:
            return torch.ops.mkldnn._convolution_pointwise(
                x, weight, self.bias, *form, "relu" if self.relu else "none", [], ""
            )
        post_operations: tuple[object, ...] = ("add", 1.0, "relu" if self.relu else None, [], None)
        if self.overwrites_residual:
            # A sum in place moves a third less memory.
            return torch.ops.mkldnn._convolution_pointwise_.binary(
                residual, x, weight, self.bias, *form, *post_operations
            )
        return torch.ops.mkldnn._convolution_pointwise.binary(
            x, residual, weight, self.bias, *form, *post_operations
        )


class HalvingMaxPool(nn.Module):
    """The maximum over 2 x 2 positions that do not overlap.

    The last row of an uneven height is left out, and the last column of an uneven width.
    torch's pooling also keeps the position of each maximum, which takes three times as long.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the maps [n, units, h // 2, w // 2] of x [n, units, h, w]."""
        height, width = x.shape[2] // 2 * 2, x.shape[3] // 2 * 2
        by_column = torch.maximum(x[..., :height, 0:width:2], x[..., :height, 1:width:2])
        return torch.maximum(by_column[..., 0::2, :], by_column[..., 1::2, :])


# Modules that return memory of their own. The input of the body belongs to its caller.
_FRESH_OUTPUTS = (FusedConvolution, HalvingMaxPool, nn.MaxPool2d)


class FusedBody:
    """A body traced and fused, with the output of one more layer if it is asked for.

    Attributes
    ----------
    dtype : torch.dtype
        Number format of the computation.
    layer_output : Tensor or None
        Output of the layer in the last run.
    """

    def __init__(self, graph: fx.GraphModule, dtype: torch.dtype) -> None:
        self._graph, self.dtype = graph, dtype
        self.layer_output: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Return the last maps of the normalised input."""
        last, self.layer_output = self._graph(x.to(self.dtype))
        return last


def fuse_body(body: nn.Module, layer: nn.Module | None, dtype: torch.dtype) -> FusedBody | None:
    """Trace a body and fuse its convolutions with what follows them.

    Parameters
    ----------
    body : torch.nn.Module
        In evaluation mode; takes the normalised input and returns the last maps.
    layer : torch.nn.Module or None
        A module inside the body whose output is wanted as well.
    dtype : {torch.float32, torch.bfloat16}
        Number format of the computation.

    Returns
    -------
    FusedBody or None
        None where nothing is gained: no convolution has a follower to fuse with, or the computation
        depends on the input, so that it cannot be traced.

    Notes
    -----
    The values differ from those of the separate operations by rounding, about 3e-6 of the largest
    in float32.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()
    >>> fused = fuse_body(body.requires_grad_(False), None, torch.float32)
    >>> x = torch.ones(1, 1, 8, 8)
    >>> with torch.inference_mode():
    ...     bool(torch.allclose(fused(x), body(x), atol=1e-5))
    True
    """
    tracer = _LayerTracer(layer)
    try:
        graph = tracer.trace(body)
    except _TRACING_ERRORS:
        return None
    if layer is not None and tracer.layer_node is None:
        return None
    _return_layer(graph, tracer.layer_node)
    module = fx.GraphModule(tracer.root, graph)
    modules = dict(module.named_modules())
    convolutions = [
        node
        for node in graph.nodes
        if node.op == "call_module" and type(modules[node.target]) is nn.Conv2d
    ]
    fused = [_fuse_convolution(module, modules, node, dtype) for node in convolutions]
    for name, part in modules.items():
        if isinstance(part, nn.MaxPool2d) and _halves(part):
            module.set_submodule(name, HalvingMaxPool())
    graph.eliminate_dead_code()
    _overwrite_residuals(module)
    module.delete_all_unused_submodules()
    module.recompile()
    return FusedBody(module, dtype) if any(fused) else None


class _LayerTracer(fx.Tracer):
    """Tracer that notes which node is the output of a layer."""

    def __init__(self, layer: nn.Module | None) -> None:
        super().__init__()
        self._layer = layer
        self.layer_node: fx.Node | None = None

    def call_module(
        self, m: nn.Module, forward: Callable[..., object], args: tuple, kwargs: dict
    ) -> object:
        """Trace a module as usual."""
        output = super().call_module(m, forward, args, kwargs)
        if m is self._layer and isinstance(output, fx.Proxy):
            self.layer_node = output.node
        return output


def _return_layer(graph: fx.Graph, layer: fx.Node | None) -> None:
    """Return the last maps and a copy of the layer's output, or None in its place."""
    output = next(node for node in graph.nodes if node.op == "output")
    (last,) = output.args
    copied = None
    if layer is not None:
        # A copy: an in-place ReLU behind the layer would change it.
        with graph.inserting_after(layer):
            copied = graph.call_method("clone", (layer,))
    output.args = ((last, copied),)


def _fuse_convolution(
    module: fx.GraphModule, modules: dict[str, nn.Module], node: fx.Node, dtype: torch.dtype
) -> bool:
    """Replace a convolution and what follows it by one module; return whether something does."""
    convolution = modules[node.target]  # type: ignore[index]
    assert isinstance(convolution, nn.Conv2d)
    if convolution.padding_mode != "zeros" or isinstance(convolution.padding, str):
        return False
    fused, last = FusedConvolution(convolution), node
    follower = _only_user(last)
    if follower is not None and isinstance(_module_of(modules, follower), nn.BatchNorm2d):
        norm = _module_of(modules, follower)
        assert isinstance(norm, nn.BatchNorm2d)
        if norm.running_mean is not None:
            fused.fold(norm)
            last = follower
    residual, follower = None, _only_user(last)
    if follower is not None and _is_addition(follower):
        others = [argument for argument in follower.args if argument is not last]
        # Both branches end in a convolution where the shape changes: the later one takes the sum.
        if len(others) == 1 and _precedes(module.graph, others[0], node):
            residual, last = others[0], follower
    follower = _only_user(last)
    if follower is not None and _is_relu(modules, follower):
        fused.relu, last = True, follower
    if last is node:
        return False
    fused.convert(dtype)
    name = f"fused_{node.name}"
    module.add_module(name, fused)
    with module.graph.inserting_after(last):
        arguments = (node.args[0],) if residual is None else (node.args[0], residual)
        replacement = module.graph.call_module(name, arguments)
    last.replace_all_uses_with(replacement)
    return True


def _overwrite_residuals(module: fx.GraphModule) -> None:
    """Let convolutions write into the residual branch where nothing else reads it afterwards."""
    modules = dict(module.named_modules())
    positions = {node: position for position, node in enumerate(module.graph.nodes)}
    for node, position in positions.items():
        fused = _module_of(modules, node)
        if not isinstance(fused, FusedConvolution) or len(node.args) == 1:
            continue
        residual = node.args[1]
        assert isinstance(residual, fx.Node)
        is_fresh = isinstance(_module_of(modules, residual), _FRESH_OUTPUTS)
        fused.overwrites_residual = is_fresh and all(
            positions[user] <= position for user in residual.users
        )


def _halves(pool: nn.MaxPool2d) -> bool:
    """Return whether a pooling takes the maximum over 2 x 2 positions that do not overlap."""
    sizes = (pool.kernel_size, pool.stride)
    return (
        all(size in (2, (2, 2)) for size in sizes)
        and (pool.padding, pool.dilation) == (0, 1)
        and not (pool.ceil_mode or pool.return_indices)
    )


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _module_of(modules: dict[str, nn.Module], node: fx.Node) -> nn.Module | None:
    return modules.get(str(node.target)) if node.op == "call_module" else None


def _is_relu(modules: dict[str, nn.Module], node: fx.Node) -> bool:
    if node.op == "call_method":
        return node.target in ("relu", "relu_")
    is_function = node.op == "call_function" and node.target in _RELU_FUNCTIONS
    return is_function or type(_module_of(modules, node)) is nn.ReLU


def _is_addition(node: fx.Node) -> bool:
    # `torch.add` may have a factor as keyword.
    return node.op == "call_function" and node.target in _ADDITIONS and not node.kwargs


def _precedes(graph: fx.Graph, argument: object, node: fx.Node) -> bool:
    """Return whether an argument is a tensor that exists before this node is computed."""
    if not isinstance(argument, fx.Node):
        return False
    return next(n for n in graph.nodes if n is argument or n is node) is argument
