"""The images of labels in a segmentation node: segments that do not overlap share one."""

import numpy as np
import slicer
from vtk.util import numpy_support

BINARY_LABELMAP = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()


def imagesOf(segmentation, values):
    """The images that segments share, in Slicer's order, each with {its label: ours}.

    Args:
        values: our label by segment.
    """
    images = {}
    for name, value in values.items():
        segment = segmentation.GetSegment(name)
        image = segment.GetRepresentation(BINARY_LABELMAP)
        if image is not None:
            images.setdefault(image, {})[segment.GetLabelValue()] = value
    return images.items()


def paste(arrays, values, image, toGrid, empty) -> int:
    """Copy an image's labels, translated by the dict ``values``, into the first of the grid's layers where they lie on
    no other, a new one if need be; returns its number.

    The image and the grid have the same voxels, shifted by whole ones, as a rule; else each voxel goes to the nearest
    of the grid.

    Args:
        empty: whether nothing was copied so far.
    """
    found = voxelsOf(image)
    if found is None:
        return 0
    array = arrays[0]
    if any(label != value for label, value in values.items()):
        table = np.zeros(max(values) + 1, array.dtype)
        table[list(values)] = list(values.values())
        found = table[np.where(found < len(table), found, 0)]
    low = shiftOf(image, toGrid)
    if low is not None:
        begin, end = np.maximum(low, 0), np.minimum(low + found.shape, array.shape)
        if (begin >= end).any():
            return 0
        place, source = tuple(map(slice, begin, end)), found[tuple(map(slice, begin - low, end - low))]
        number = 0 if empty else _freeLayer(arrays, lambda layer: ((layer[place] > 0) & (source > 0)).any())
        # A slice at a time stays in the processor's cache.
        for below, above in zip(arrays[number][place], source, strict=True):
            np.copyto(below, above, "unsafe", where=above > 0)  # Slicer may keep labels in a signed type
        return number
    kji = np.argwhere(found)
    ijk = np.rint((kji + np.array(image.GetExtent()[4::-2]))[:, ::-1] @ toGrid[:3, :3].T + toGrid[:3, 3]).astype(int)
    inside = ((ijk >= 0) & (ijk < array.shape[::-1])).all(1)
    i, j, k = ijk[inside].T
    number = _freeLayer(arrays, lambda layer: layer[k, j, i].any())
    arrays[number][k, j, i] = found[tuple(kji[inside].T)]
    return number


def _freeLayer(arrays, taken) -> int:
    """The number of the first layer for which ``taken`` is False; a new one if there is none."""
    number = next((n for n, layer in enumerate(arrays) if not taken(layer)), len(arrays))
    if number == len(arrays):
        arrays.append(np.zeros_like(arrays[0]))
    return number


def voxelsOf(image):
    """An image's voxels, (K, J, I), not copied; None if it has none."""
    extent = image.GetExtent()
    shape = (extent[5] - extent[4] + 1, extent[3] - extent[2] + 1, extent[1] - extent[0] + 1)
    if 0 in shape or image.GetPointData().GetScalars() is None:
        return None
    return numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape(shape)


def shiftOf(image, toGrid):
    """(K, J, I) of an image's first voxel in a grid; None if the two do not have the same voxels."""
    first = np.array(image.GetExtent()[4::-2]) + toGrid[2::-1, 3]
    low = np.rint(first).astype(int)
    same = np.allclose(toGrid[:3, :3], np.eye(3), atol=1e-5) and np.allclose(first, low, atol=1e-3)
    return low if same else None
