"""The papers' tables: their numbers, how each row is made here, and what differs in the protocol.

EraDiff: CVPR 2025, arXiv 2503.07026, Tables 1 and 3.  YOEO: CVPR 2026, arXiv 2603.27599, its main table and ablation;
of its nine baselines three were known to us.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Row:
    """A row of a table.  ``weights`` is the name under which its checkpoint is given, empty for what is not made here.

    ``paper`` are the paper's numbers by our column; ``settings`` go to the pipeline ``method``.
    """

    name: str
    paper: dict[str, float]
    weights: str = ""
    method: str = "yoeo"
    settings: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """A table: on which set, with which of our metrics (as ``evaluation.score --metrics`` has them), and its rows."""

    says: str
    set: str
    metrics: tuple[str, ...]
    columns: dict[str, str]  # ours: the paper's
    rows: tuple[Row, ...]
    protocol: tuple[str, ...]


def eradiff(name: str, weights: str, attention: str, **paper: float) -> Row:
    return Row(name, paper, weights, "eradiff", {"attention": attention})


OPEN_IMAGES = (
    "Their 10,000 pictures of Open Images' test split were never published: yours are drawn by a seed, so hold "
    "differences between rows against theirs, not absolute numbers.",
    "Which pictures their FID is held against is not said; here it is the pictures with the object, the default of the "
    "published evaluation of the same design (AttentiveEraser).",
    "Their number of steps, mask dilation and start are not said: here 12 DDIM steps from the noised picture.",
)
SUNDRIES = (
    "Their judge is EntitySeg's Mask2Former on HorNet-L, which does not load here; --detector names yours.",
    "Their selection of pictures and masks is not published: counts and sets differ.",
    "Their seconds are an NVIDIA A100's; yours are this machine's.",
    "Their thresholds are read from the metric's script (0.95 in the hole, 0.5% of it); its default is 0.8.",
)
ABLATION_COLUMNS = {"msn": "MSN", "mars": "MARS", "cfd": "CFD"}
MAIN_COLUMNS = ABLATION_COLUMNS | {"fid": "FID", "seconds": "seconds"}


def sundries(name: str, weights: str, *numbers: float) -> Row:
    return Row(name, dict(zip(("msn", "mars", "cfd", "seconds", "fid"), numbers, strict=False)), weights)


TABLES = {
    "eradiff-1": Table(
        "EraDiff, Table 1",
        "open-images",
        ("fid_torchvision", "lpips"),
        {"fid_torchvision": "FID", "lpips": "LPIPS", "local_fid_torchvision": "Local FID"},
        (
            eradiff("SD2-Inpaint", "base", "off", fid_torchvision=3.805, lpips=0.301, local_fid_torchvision=8.852),
            Row("SD2-Inpaint, prompt", {"fid_torchvision": 4.019, "lpips": 0.308, "local_fid_torchvision": 7.194}),
            Row("PowerPaint", {"fid_torchvision": 6.027, "lpips": 0.289, "local_fid_torchvision": 10.021}),
            Row("Inst-Inpaint", {"fid_torchvision": 11.423, "lpips": 0.410, "local_fid_torchvision": 43.472}),
            Row("LaMa", {"fid_torchvision": 7.533, "lpips": 0.219, "local_fid_torchvision": 6.091}),
            eradiff("EraDiff", "cro", "rectified", fid_torchvision=6.540, lpips=0.192, local_fid_torchvision=3.799),
        ),
        (*OPEN_IMAGES, "Their LPIPS is LaMa's (VGG, against a folder of samples); here it needs a truth."),
    ),
    "eradiff-3": Table(
        "EraDiff, Table 3 (ablation)",
        "open-images",
        ("fid_torchvision",),
        {"local_fid_torchvision": "Local FID"},
        (
            eradiff("CRO and SRA", "cro", "rectified", local_fid_torchvision=3.799),
            eradiff("without CRO", "base", "rectified", local_fid_torchvision=5.713),
            eradiff("without SRA", "cro", "off", local_fid_torchvision=4.950),
            eradiff("without both", "base", "off", local_fid_torchvision=8.852),
            eradiff("without mix-up", "no-mixup", "rectified"),
        ),
        (
            *OPEN_IMAGES,
            "Their success by GPT-4o: 83.43%, 72.96%, 78.54%, 27.80%; ask a judge with evaluation.judge.",
            "Without mix-up their training gave NaN.",
        ),
    ),
    "yoeo-entityseg": Table(
        "YOEO, main table, EntitySeg (670 pictures)",
        "entityseg",
        ("sundries", "cfd", "fid"),
        MAIN_COLUMNS,
        (
            sundries("YOEO", "yoeo", 0.049, 0.005, 0.311, 0.21, 58.8),
            sundries("EntityErasure", "", 0.122, 0.037, 0.363, 2.38),
            sundries("OmniPaint", "", 0.336, 0.045, 0.407, 14.0),
            sundries("ASUKA", "", 0.699, 0.233, 0.565, 8.01),
        ),
        SUNDRIES,
    ),
    "yoeo-coco": Table(
        "YOEO, main table, COCO val2017 (3,985 pictures)",
        "coco",
        ("sundries", "cfd", "fid"),
        MAIN_COLUMNS,
        (
            sundries("YOEO", "yoeo", 0.22, 0.017, 0.528, 0.21, 22.7),
            sundries("EntityErasure", "", 0.51, 0.086, 0.584, 2.38),
            sundries("OmniPaint", "", 1.47, 0.111, 0.705, 14.0),
            sundries("ASUKA", "", 1.49, 0.318, 0.794, 8.01),
        ),
        SUNDRIES,
    ),
    "yoeo-ablation": Table(
        "YOEO, ablation, EntitySeg",
        "entityseg",
        ("sundries", "cfd"),
        ABLATION_COLUMNS,
        (
            sundries("none", "none", 0.330, 0.0883, 0.434),
            sundries("EFC", "efc", 0.193, 0.0525, 0.367),
            sundries("EFC, D2", "efc-d2", 0.079, 0.0174, 0.350),
            sundries("SS, D2", "ss-d2", 0.136, 0.0168, 0.354),
            sundries("EFC, SS, D2", "all", 0.049, 0.0050, 0.311),
        ),
        SUNDRIES,
    ),
}
