"""Example Picture: a photograph of ours with its mask, so that every example graph runs on the first click."""

from comfy_api.v0_0_2 import io

from inpainting_core.built_in import EXAMPLES
from inpainting_core.picture_files import read_mask, read_picture

from .boundary import image_from, mask_from
from .schema import require_choice, schema


class EraseOnceExamplePicture(io.ComfyNode):
    """A picture in the public domain and the mask of what to erase from it; nothing is written or downloaded."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="EraseOnceExamplePicture",
            display_name="Example Picture",
            description="A photograph with its mask, to try an eraser before you use your own picture.",
            search_aliases=["sample image", "demo picture", "test image", "example image"],
            inputs=[
                io.Combo.Input(
                    "picture",
                    options=list(EXAMPLES),
                    default=next(iter(EXAMPLES)),
                    tooltip="wren: a bird on a rock; rocket: a rocket on its pad; satellite: a spacecraft over "
                    "a coast.",
                )
            ],
            outputs=[
                io.Image.Output(display_name="image", tooltip="The photograph."),
                io.Mask.Output(display_name="mask", tooltip="White over the object to erase."),
            ],
        )

    @classmethod
    def execute(cls, picture: str) -> io.NodeOutput:
        require_choice("picture", picture, EXAMPLES)
        photograph, mask = EXAMPLES[picture]
        image = read_picture(photograph).image
        return io.NodeOutput(image_from(image, image), mask_from(read_mask(mask), image))
