"""What YOEO's authors do with a picture before and after the network, where this pack does otherwise.

Their script squeezes a picture to the nearest of their training shapes and takes the mask to each grid by its nearest
pixels, grown by nothing; what comes out of the decoder is the result.  This pack crops, calls every touched cell hole,
grows the mask and lays the fill over the original: see ``yoeo_core.pipeline.erase``.
"""

# Height and width in pixels, each of about the area of 512 x 512.
SHAPES = (
    *((256, 1024), (256, 960), (256, 896), (256, 832), (320, 768), (320, 704), (384, 640), (448, 576), (512, 512)),
    *((576, 448), (640, 384), (704, 320), (768, 320), (832, 256), (896, 256), (960, 256), (1024, 256)),
)


def nearest_shape(height: int, width: int) -> tuple[int, int]:
    """The shape whose ratio of height to width differs least from the picture's."""
    return min(SHAPES, key=lambda shape: abs(shape[0] / shape[1] - height / width))
