"""Tiles: networks that take inputs of one side only see a larger image as a grid of such inputs."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional as F


def split_tiles(x: Tensor, side: int) -> Tensor:
    """Return the tiles [n * rows * columns, c, side, side] of images [n, c, h, w].

    The last row and column are filled up with black (0).

    Examples
    --------
    >>> import torch
    >>> split_tiles(torch.ones(1, 1, 3, 4), 2).shape, split_tiles(torch.ones(1, 1, 3, 4), 2).sum()
    (torch.Size([4, 1, 2, 2]), tensor(12.))
    """
    n, c, h, w = x.shape
    rows, columns = math.ceil(h / side), math.ceil(w / side)
    x = F.pad(x, (0, columns * side - w, 0, rows * side - h))
    tiles = x.view(n, c, rows, side, columns, side).permute(0, 2, 4, 1, 3, 5)
    return tiles.reshape(n * rows * columns, c, side, side)


def join_tiles(maps: Tensor, shape: tuple[int, int], side: int) -> Tensor:
    """Return the maps [n, units, h', w'] of images from the maps of their tiles.

    Parameters
    ----------
    maps : Tensor
        [n * rows * columns, units, p, p], in the order of `split_tiles`.
    shape : tuple of int
        Height and width of the images.
    side : int
        Side of a tile in pixels.

    Examples
    --------
    >>> import torch
    >>> x = torch.arange(12.0).view(1, 1, 3, 4)
    >>> torch.equal(join_tiles(split_tiles(x, 2), (3, 4), 2), x)
    True
    """
    rows, columns = (math.ceil(length / side) for length in shape)
    units, p, q = maps.shape[1:]
    grid = maps.view(-1, rows, columns, units, p, q).permute(0, 3, 1, 4, 2, 5)
    joined = grid.reshape(-1, units, rows * p, columns * q)
    # A position that covers some of the image belongs to it.
    height, width = math.ceil(shape[0] * p / side), math.ceil(shape[1] * q / side)
    return joined[:, :, :height, :width]
