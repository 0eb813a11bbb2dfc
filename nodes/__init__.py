"""The nodes: the only room of the pack that knows ComfyUI."""

from comfy_api.v0_0_2 import ComfyExtension, io

from .attention import EraseOnceSRA
from .check import EraseOnceSundryCheck
from .crop import EraseOnceCrop, EraseOnceStitch
from .detector import EraseOnceLoadDetector
from .effects import EraseOnceGrowToEffects
from .erase import EraseOnceEraDiff, EraseOnceYOEO
from .example import EraseOnceExamplePicture
from .load import EraseOnceLoadModel
from .sigmas import EraseOnceSigmas
from .snap import EraseOnceSnapMask


class EraseOnceExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [
            EraseOnceLoadModel,
            EraseOnceYOEO,
            EraseOnceEraDiff,
            EraseOnceSRA,
            EraseOnceSigmas,
            EraseOnceCrop,
            EraseOnceStitch,
            EraseOnceLoadDetector,
            EraseOnceSundryCheck,
            EraseOnceSnapMask,
            EraseOnceExamplePicture,
            EraseOnceGrowToEffects,
        ]
