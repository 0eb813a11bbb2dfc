"""What YOEO's authors do with a picture before and after the network, where this pack does otherwise.

Their script squeezes a picture to the nearest of their training shapes and takes the mask to each grid by its nearest
pixels, grown by nothing; what comes out of the decoder is the result.  This pack crops, calls every touched cell hole,
grows the mask and lays the fill over the original: see ``yoeo_core.pipeline.erase``.
"""

from inpainting_core.buckets import Shape, shapes_of_area

SHAPES = sorted(shapes_of_area(512), key=lambda shape: shape[0] / shape[1])  # from the widest to the tallest


def nearest_shape(height: int, width: int) -> Shape:
    """The shape whose ratio of height to width differs least from the picture's; the wider of two as near."""
    return min(SHAPES, key=lambda shape: abs(shape[0] / shape[1] - height / width))
