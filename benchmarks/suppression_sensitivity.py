"""How sensitive L_SS is to what counts as a sundry: its share in the hole, lambda, and the detector's score, tau.

    python -m benchmarks.suppression_sensitivity --images photos --validation photos_held_out --out runs/yoeo_ablation

Each row is a run of stage 3 with all of its terms, as in ``benchmarks.yoeo_ablation``, whose flags and measures these
are and whose stage 2, pools and middle row are taken over where ``--out`` is its folder.
"""

from benchmarks.yoeo_ablation import WHOLE, main, parse_args

# The authors' are 0.9 and 0.2: the row that has no flags of its own.
ROWS = {
    WHOLE: "",
    "lambda 0.7": "--lambda 0.7 --teacher-lambda 0.65",
    "lambda 0.8": "--lambda 0.8 --teacher-lambda 0.75",
    "lambda 0.97": "--lambda 0.97 --teacher-lambda 0.92",
    "tau 0.1": "--tau 0.1",
    "tau 0.4": "--tau 0.4",
    "tau 0.6": "--tau 0.6",
}

if __name__ == "__main__":
    main(parse_args(told=__doc__), ROWS)
