"""The mean of detectors that were trained from one another: each knows what the other forgot.

    python -m training.average runs/before/detector.safetensors runs/after/detector.safetensors --out mean.safetensors

All weights are averaged, one by one (Wortsman et al. 2022, model soups).  The files must hold the same network; what
``--says`` says of their training is written into the metadata of the new one.
"""

import argparse

import torch

from yoeo_core.detector import load_detector, write_detector


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("detectors", nargs="+", help="files or folders of detectors of one shape")
    parser.add_argument("--out", required=True, help="the file to write")
    parser.add_argument("--says", help="how they were trained, for whoever reads the file's metadata")
    return parser.parse_args(argv)


@torch.no_grad()
def main(args: argparse.Namespace) -> None:
    first, *others = (load_detector(path) for path in args.detectors)
    states = [one.network.state_dict() for one in (first, *others)]
    shapes = [{name: value.shape for name, value in state.items()} for state in states]
    for path, shape in zip(args.detectors, shapes, strict=True):
        if shape != shapes[0]:
            raise SystemExit(
                f"{path} holds another network than {args.detectors[0]}: only weights of one can be averaged."
            )
    for name, value in first.network.state_dict().items():
        if value.is_floating_point():
            value.copy_(torch.stack([state[name] for state in states]).mean(0))
    training = {"mean of": [str(path) for path in args.detectors]} | ({"said": args.says} if args.says else {})
    write_detector(args.out, first, training=training)
    print(f"{args.out}: the mean of {len(states)} detectors")


if __name__ == "__main__":
    main(parse_args())
