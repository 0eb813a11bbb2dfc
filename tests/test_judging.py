"""What the detector adds to stage 3: batches of one kind, sundries that are heard, and caps that weigh them."""

from dataclasses import replace

import pytest
import torch
from torch.utils.data import Dataset
from training_runs import draw_photographs

from inpainting_core.built_in import BUILT_IN, NANO, NANO_DETECTOR
from training.data.composites import Composites
from training.data.encoding import Encoder
from training.data.recipe import NANO_RECIPE
from training.data.sets import all_of
from training.networks.bases import load_networks
from training.running.distilling import Answer
from training.running.judging import HalfUnpaired, Judgement, judged_terms, judgement_of, pull_of, teachers_own
from training.train_yoeo_stage3 import parse_args
from yoeo_core.balance import capped
from yoeo_core.detector import load_detector

NOTICED = (37, 90)  # of the first 91 samples, those in whose hole the nano detector sees a whole thing


class Numbers(Dataset):
    def __init__(self, first: int):
        self.first = first

    def __len__(self) -> int:
        return 10_000

    def __getitem__(self, index: int) -> dict[str, int]:
        return {"value": self.first + index}


def test_a_batch_is_of_one_kind_and_half_of_them_are_unpaired():
    mixed = HalfUnpaired(Numbers(0), Numbers(10_000), batch=5, seed=3)
    samples = [mixed[index] for index in range(len(mixed))]
    kinds = [bool(sample["unpaired"]) for sample in samples]
    assert all(len(set(kinds[start : start + 5])) == 1 for start in range(0, len(kinds), 5))
    batches = sum(kinds[::5])
    assert abs(batches - 1000) < 4 * 2000**0.5 / 2, "four standard deviations of 2,000 coins"
    for kind in (False, True):  # each set without a gap, whatever the other one's turns are
        values = [sample["value"] for sample in samples if sample["unpaired"] == kind]
        assert values == list(range(10_000 * kind, 10_000 * kind + len(values)))
    assert [int(sample["number"]) for sample in samples] == list(range(len(mixed)))
    assert kinds == [bool(HalfUnpaired(Numbers(0), Numbers(0), 5, 3)[i]["unpaired"]) for i in range(len(kinds))]
    assert not any(HalfUnpaired(Numbers(0), Numbers(0), 5, 3, share=0.0)[i]["unpaired"] for i in range(500))


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """Pictures whose things lie whole in the hole, decoded by the nano, and the nano detector."""
    photos = draw_photographs(tmp_path_factory.mktemp("photos"), (256, 256))
    networks, detector = load_networks(str(BUILT_IN[NANO]), None), load_detector(NANO_DETECTOR)
    encoder = Encoder(networks.vae, networks.config, torch.device("cpu"))
    samples = Composites(photos, 192, 91, 0, "d2", replace(NANO_RECIPE, smooth_every=0))
    batch = all_of([samples[index] for index in NOTICED])
    last = torch.nn.Conv2d(4, 4, 1, bias=False)
    torch.nn.init.dirac_(last.weight)
    return encoder, last, encoder.encode(batch["image"]).detach(), batch["mask"], detector


def answer_of(scene) -> Answer:
    encoder, last, latent, *_ = scene
    made = last(latent)
    return Answer(made, encoder.decode(made), encoder.decode(latent).detach())


def test_a_thing_in_the_hole_is_heard_on_unpaired_pictures_only(scene):
    *_, hole, detector = scene
    answer = answer_of(scene)
    found = detector(answer.target)
    told = judged_terms(detector, answer, hole, found, unpaired=True)
    assert told["ss_mask"] > 0 and told["ss_probability"] > 0
    assert judged_terms(detector, answer, hole, found, unpaired=False).keys() == {"efc"}


def test_what_the_teacher_invents_is_masked_out_where_it_lies(scene):
    *_, hole, detector = scene
    area = teachers_own(detector(answer_of(scene).target), hole)
    assert area.shape == hole.shape and set(area.unique().tolist()) == {0.0, 1.0}
    assert (area * hole).sum() > 0.8 * area.sum(), "it lies in the hole, where the things are"
    assert not teachers_own(detector(torch.full_like(hole.expand(-1, 3, -1, -1), 0.5)), hole).any()


@pytest.mark.parametrize("loud", [1e-6, 1e3])
def test_the_pull_is_the_gradient_of_all_terms_with_the_detectors_capped(scene, loud):
    """Against every term walked back to the weight by itself, as the caps are defined."""
    _, last, _, hole, detector = scene
    answer = answer_of(scene)
    towards = answer.target.roll(2, -1)
    distilled = {
        "lpips": loud * (answer.picture - towards).square().mean(),
        "dmd": 0.1 * loud * answer.latent.square().mean(),
        "gan": 0.2 * loud * answer.latent.abs().mean(),
    }
    told = judged_terms(detector, answer, hole, detector(answer.target), unpaired=True)
    told["efc"] = told["efc"] + answer.latent.mean()  # whether or not something crosses the hole's edge here

    caps = capped(told, distilled["lpips"], last.weight)
    whole = sum(distilled.values()) + sum(caps[name].scale * term for name, term in told.items())
    (expected,) = torch.autograd.grad(whole, last.weight, retain_graph=True)
    pull, found = pull_of(distilled, told, answer.latent, last.weight, lambda gradient: gradient)
    (gradient,) = torch.autograd.grad(pull, last.weight)
    assert torch.allclose(gradient, expected, rtol=1e-3, atol=1e-4 * expected.abs().max())
    assert [bool(cap.scale < 1) for cap in found.values()] == [loud < 1] * 3
    for name, cap in found.items():
        assert cap.norm.item() == pytest.approx(caps[name].norm.item(), rel=1e-3)


INHERITED = "--teacher t --student s --detector d --images i --out o"
ASKED = {
    "--lambda 0.8": {"ios": 0.8},
    "--tau 0.3": {"score": 0.3},
    "--teacher-lambda 0.7": {"teacher_ios": 0.7},
    "--lambda-ss 0.25": {"ss": 0.25},
    "--lambda-efc 2": {"efc": 2.0},
    "--form paper": {"form": "paper"},
    "--alpha 0": {"alpha": 0.0},
}


@pytest.mark.parametrize("flags", ASKED)
def test_the_papers_knobs_are_flags(flags):
    assert judgement_of(parse_args(INHERITED.split())) == Judgement()
    assert judgement_of(parse_args([*INHERITED.split(), *flags.split()])) == Judgement(**ASKED[flags])


def test_every_knob_is_heard(scene):
    *_, hole, detector = scene
    answer = answer_of(scene)
    seen = detector(answer.target)

    def told(**knobs) -> dict[str, float]:
        terms = judged_terms(detector, answer, hole, seen, True, Judgement(**knobs))
        return {name: term.item() for name, term in terms.items()}

    usual = told()
    for nobody in ({"ios": 1.0}, {"score": 1.0}):
        assert told(**nobody)["ss_mask"] == told(**nobody)["ss_probability"] == 0
    assert told(ss=0.25)["ss_mask"] == pytest.approx(usual["ss_mask"] / 2)
    assert told(form="paper")["ss_mask"] > usual["ss_mask"], "summed over the whole picture"
    assert told(alpha=0.0)["ss_probability"] > usual["ss_probability"]
    assert not teachers_own(seen, hole, Judgement(teacher_ios=1.0)).any()
    assert not teachers_own(seen, hole, Judgement(score=1.0)).any()
    assert Judgement(ss=0.1, efc=0.2).shares == {"ss_probability": 0.1, "ss_mask": 0.1, "efc": 0.2}
