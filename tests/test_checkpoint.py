"""Checkpoints: every form in, one form out, and one sentence for each file that is not a checkpoint."""

import json
import math
import re
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, safe_open, save_file
from tiny import KL, NANO, TINY, UNET, UNET_LIKE_SD2, UNET_LIKE_SD15, UNET_LIKE_SDXL, tiny_checkpoint, tiny_config
from torch import Tensor

from eradiff_core.inpainting import checkpoint as checkpoints
from eradiff_core.inpainting import empty_prompt
from eradiff_core.inpainting.architecture import SD2_INPAINT, SD15_INPAINT, SDXL_INPAINT, ModelConfig
from eradiff_core.inpainting.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from eradiff_core.inpainting.diffusers_folder import read_config
from eradiff_core.inpainting.empty_prompt import LENGTH, Prompt, TextEncoder, encode_empty_prompt
from eradiff_core.inpainting.engine import build_unet, build_vae
from eradiff_core.inpainting.ldm_keys import unet_layout, vae_layout

CONFIG, XL_CONFIG = tiny_config(), tiny_config(UNET_LIKE_SDXL)
FIRST = "model.diffusion_model.input_blocks.0.0.weight"
TEXT_WIDTH, TEXT_LAYERS = 64, 2


@pytest.fixture(scope="module")
def base() -> Checkpoint:
    return tiny_checkpoint(CONFIG, seed=1)


@pytest.fixture(scope="module")
def other_unet() -> dict[str, Tensor]:
    return tiny_checkpoint(CONFIG, seed=2).unet


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our small UNets stand for published ones, and small text encoders for theirs."""
    for config in (CONFIG, XL_CONFIG):
        monkeypatch.setitem(checkpoints.BY_CONTEXT, config.unet.context_dim, config)
    monkeypatch.setitem(empty_prompt.ENCODERS, TEXT_WIDTH, (TextEncoder(TEXT_LAYERS, 0, "gelu"),))
    one, other = TextEncoder(1, 49407, "quick_gelu", normed=False), TextEncoder(1, 0, "gelu", False, pooled=True)
    monkeypatch.setitem(empty_prompt.ENCODERS, 2 * TEXT_WIDTH, (one, other))


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


def assert_same_prompt(one: Prompt, other: Prompt) -> None:
    assert torch.equal(one.tokens, other.tokens)
    assert (one.pooled is other.pooled is None) or torch.equal(one.pooled, other.pooled)


def refuses(path: Path, sentence: str, base: Checkpoint | None = None, error: type = ValueError) -> None:
    with pytest.raises(error, match=re.escape(sentence)) as caught:
        read_checkpoint(path, base)
    assert "\n" not in str(caught.value)


# our own files


@pytest.mark.parametrize(
    "unet",
    [UNET, UNET_LIKE_SD15, UNET_LIKE_SD2, UNET_LIKE_SDXL, NANO],
    ids=["small", "sd15", "sd2", "sdxl", "nano"],
)
@pytest.mark.parametrize("vae", [KL, TINY], ids=["kl", "tiny"])
def test_what_is_written_is_read_back(tmp_path: Path, unet, vae):
    config = replace(tiny_config(unet, vae, "v_prediction"), training={"stage": "any", "steps": 3})
    written = tiny_checkpoint(config)
    write_checkpoint(tmp_path / "a.safetensors", written, torch.float32)
    read = read_checkpoint(tmp_path / "a.safetensors")
    assert read.config == config
    assert_same(read.unet, written.unet)
    assert_same(read.vae, written.vae)
    assert_same_prompt(read.empty_prompt, written.empty_prompt)


@pytest.mark.parametrize("config", [SD15_INPAINT, SD2_INPAINT, tiny_config(NANO, TINY, "v_prediction")])
def test_a_configuration_from_before_sdxl_means_what_it_meant(config: ModelConfig):
    stored = json.loads(json.dumps(config.as_dict()))
    for part, new in (("unet", "depth"), ("unet", "pooled_dim"), ("vae", "needs_fp32")):
        del stored[part][new]
    assert ModelConfig.from_dict(stored) == config


def test_the_file_is_half_precision_with_ldm_names(tmp_path: Path):
    write_checkpoint(tmp_path / "a.safetensors", tiny_checkpoint(tiny_config(vae=TINY)))
    tensors = load_file(tmp_path / "a.safetensors")
    assert tensors.pop("erase_once.empty_prompt").dtype == torch.float32  # an input, not a weight
    assert {value.dtype for value in tensors.values()} == {torch.float16}
    assert FIRST in tensors and "first_stage_model.taesd_decoder.1.weight" in tensors
    assert float(tensors["first_stage_model.vae_scale"]) == 1 and float(tensors["first_stage_model.vae_shift"]) == 0


def test_the_autoencoders_attention_is_written_as_a_convolution(tmp_path: Path, base: Checkpoint):
    write_checkpoint(tmp_path / "a.safetensors", base)
    assert load_file(tmp_path / "a.safetensors")["first_stage_model.encoder.mid.attn_1.q.weight"].shape == (
        64,
        64,
        1,
        1,
    )


def test_the_loaded_networks_give_identical_outputs(tmp_path: Path, base: Checkpoint):
    write_checkpoint(tmp_path / "a.safetensors", base, torch.float32)
    read, x = read_checkpoint(tmp_path / "a.safetensors"), torch.randn(1, 9, 8, 8)
    before, after = build_unet(CONFIG.unet), build_unet(CONFIG.unet)
    before.load_state_dict(base.unet)
    after.load_state_dict(read.unet)
    with torch.no_grad():
        one, two = (net(x, torch.tensor([7]), base.empty_prompt.tokens).sample for net in (before, after))
    assert torch.equal(one, two)


def test_a_file_without_autoencoder_or_prompt_takes_the_bases(tmp_path: Path, base: Checkpoint):
    bare = Checkpoint(tiny_config(vae=TINY), base.unet)
    write_checkpoint(tmp_path / "a.safetensors", bare, torch.float32)
    alone = read_checkpoint(tmp_path / "a.safetensors")
    assert alone.vae is None and alone.empty_prompt is None
    filled = read_checkpoint(tmp_path / "a.safetensors", base)
    assert filled.vae is base.vae and filled.empty_prompt is base.empty_prompt and filled.config.vae == KL


def test_writing_refuses_weights_that_do_not_fit(tmp_path: Path, base: Checkpoint):
    unet = {key: value for key, value in base.unet.items() if key != "conv_out.bias"}
    with pytest.raises(ValueError, match=re.escape("the UNet must hold conv_out.bias of shape (4,)")):
        write_checkpoint(tmp_path / "a.safetensors", replace(base, unet=unet))


def test_a_prompt_of_another_width_is_refused(base: Checkpoint):
    with pytest.raises(ValueError, match=re.escape("empty_prompt must be [1, n, 64], got [1, 77, 768].")):
        replace(base, empty_prompt=Prompt(torch.zeros(1, 77, 768)))


def test_a_prompt_without_the_pooled_vector_its_unet_wants_is_refused(base: Checkpoint):
    sentence = "empty_prompt must have a pooled vector of shape {} for its UNet, got {}."
    with pytest.raises(ValueError, match=re.escape(sentence.format((1, 48), None))):
        Checkpoint(XL_CONFIG, {}, empty_prompt=Prompt(torch.zeros(1, 77, 128)))
    with pytest.raises(ValueError, match=re.escape(sentence.format(None, (1, 48)))):
        replace(base, empty_prompt=Prompt(torch.zeros(1, 77, 64), torch.zeros(1, 48)))


def test_metadata_that_is_not_ours_is_refused(tmp_path: Path, base: Checkpoint):
    save_file({FIRST: torch.zeros(1)}, tmp_path / "a.safetensors", {"erase_once": '{"colour": 3}'})
    refuses(tmp_path / "a.safetensors", "a.safetensors must describe its model in its metadata, got '{\"colour\": 3}'.")


# files that others publish


def single_file(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The checkpoint as LDM stores it: no metadata, some tables besides."""
    unet, vae = unet_layout(checkpoint.config.unet), vae_layout(checkpoint.config.vae)
    tensors = {"model.diffusion_model." + slot.ldm: checkpoint.unet[ours] for ours, slot in unet.items()}
    for ours, slot in vae.items():
        tensors["first_stage_model." + slot.ldm] = checkpoint.vae[ours].reshape(slot.ldm_shape)
    return tensors | {"betas": torch.zeros(1000), "model_ema.decay": torch.zeros(())}


def random_weights(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Half-precision weights, different for each name, without drawing a number for each."""
    pool = torch.rand(2**20, generator=torch.Generator().manual_seed(5)).sub(0.5).mul(0.1).half()
    sizes = {key: math.prod(shape) for key, shape in shapes.items()}
    return {
        key: pool.roll(i).repeat(sizes[key] // len(pool) + 1)[: sizes[key]].reshape(shape).clone()
        for i, (key, shape) in enumerate(shapes.items())
    }


def clip_weights(width: int = TEXT_WIDTH, layers: int = TEXT_LAYERS) -> dict[str, Tensor]:
    """A random text encoder in OpenCLIP's names."""
    shapes = {"token_embedding.weight": (49408, width), "positional_embedding": (LENGTH, width)}
    for number in range(layers):
        block = f"transformer.resblocks.{number}."
        shapes |= {block + "attn.in_proj_weight": (3 * width, width), block + "attn.in_proj_bias": (3 * width,)}
        shapes |= {block + "mlp.c_fc.weight": (4 * width, width), block + "mlp.c_fc.bias": (4 * width,)}
        shapes |= {block + "mlp.c_proj.weight": (width, 4 * width), block + "attn.out_proj.weight": (width, width)}
        vectors = ("mlp.c_proj.bias", "attn.out_proj.bias", "ln_1.weight", "ln_1.bias", "ln_2.weight", "ln_2.bias")
        shapes |= {block + name: (width,) for name in vectors}
    return random_weights(shapes | {"ln_final.weight": (width,), "ln_final.bias": (width,)})


def two_text_encoders() -> list[dict[str, Tensor]]:
    """SDXL's pair: one in transformers' names, one in OpenCLIP's with the projection of its pooled vector."""
    first = {f"text_model.{key}": value for key, value in empty_prompt.in_clip_names(clip_weights()).items()}
    projection = random_weights({"text_projection": (TEXT_WIDTH, UNET_LIKE_SDXL.pooled_dim)})
    return [first, {key: 1.5 * value for key, value in clip_weights().items()} | projection]


def test_a_published_single_file(tmp_path: Path, base: Checkpoint, known: None):
    save_file(single_file(base), tmp_path / "sd.safetensors")
    read = read_checkpoint(tmp_path / "sd.safetensors")
    assert read.config == CONFIG and read.empty_prompt is None
    assert_same(read.unet, base.unet)
    assert_same(read.vae, base.vae)


def test_a_published_ckpt_and_its_text_encoder(tmp_path: Path, base: Checkpoint, known: None):
    text = {"cond_stage_model.model." + key: value for key, value in clip_weights().items()}
    stored = {"state_dict": OrderedDict(single_file(base) | text), "global_step": 7}
    torch.save(stored, tmp_path / "sd.ckpt")
    read = read_checkpoint(tmp_path / "sd.ckpt")
    assert_same(read.unet, base.unet)
    assert_same_prompt(read.empty_prompt, encode_empty_prompt([clip_weights()], TEXT_WIDTH))


def test_a_published_sdxl_file_and_its_two_text_encoders(tmp_path: Path, known: None):
    written, texts = tiny_checkpoint(XL_CONFIG), two_text_encoders()
    stored = single_file(written)
    for prefix, weights in zip(("0.transformer.", "1.model."), texts, strict=True):
        stored |= {f"conditioner.embedders.{prefix}{key}": value.contiguous() for key, value in weights.items()}
    save_file(stored, tmp_path / "xl.safetensors")
    read = read_checkpoint(tmp_path / "xl.safetensors")
    assert read.config == XL_CONFIG
    assert_same(read.unet, written.unet)
    assert_same(read.vae, written.vae)
    assert read.empty_prompt.pooled.shape == (1, 48)
    assert_same_prompt(read.empty_prompt, encode_empty_prompt(texts, 2 * TEXT_WIDTH))


def test_an_sdxl_file_with_one_text_encoder_is_refused(tmp_path: Path, known: None):
    text = {f"conditioner.embedders.0.transformer.{key}": value for key, value in two_text_encoders()[0].items()}
    save_file(single_file(tiny_checkpoint(XL_CONFIG)) | text, tmp_path / "xl.safetensors")
    refuses(tmp_path / "xl.safetensors", "text encoders for a width of 128 must be 2, got 1.")


@pytest.mark.parametrize("config", [SD15_INPAINT, SD2_INPAINT, SDXL_INPAINT], ids=["sd15", "sd2", "sdxl"])
def test_published_files_are_known_by_their_context_width(tmp_path: Path, config: ModelConfig):
    layout = unet_layout(config.unet)
    few = {
        k: s for k, s in layout.items() if k in ("conv_in.weight", "mid_block.attentions.0.norm.weight") or "to_k" in k
    }
    tensors = {
        "model.diffusion_model." + slot.ldm: torch.zeros(slot.ldm_shape, dtype=torch.float16) for slot in few.values()
    }
    save_file(tensors, tmp_path / "sd.safetensors")
    refuses(
        tmp_path / "sd.safetensors",
        "sd.safetensors must hold model.diffusion_model.input_blocks.0.0.bias of shape (320,)",
    )


def test_an_unknown_context_width_is_refused(tmp_path: Path, base: Checkpoint):
    save_file(single_file(base), tmp_path / "sd.safetensors")
    rule = "an SD1.5, SD2 or SDXL UNet, which reads a text of width 768 or 1024 or 2048"
    refuses(tmp_path / "sd.safetensors", f"sd.safetensors must hold {rule}, got width 64.")


def diffusers_folder(path: Path, checkpoint: Checkpoint, old_names: bool = False, fp16_bin: bool = False) -> Path:
    unet, vae = build_unet(checkpoint.config.unet), build_vae(checkpoint.config.vae)
    unet.load_state_dict(checkpoint.unet)
    vae.load_state_dict(checkpoint.vae)
    unet.register_to_config(sample_size=8)
    unet.save_pretrained(path / "unet")
    vae.save_pretrained(path / "vae")
    (path / "scheduler").mkdir()
    (path / "scheduler" / "scheduler_config.json").write_text(
        json.dumps({"prediction_type": checkpoint.config.prediction})
    )
    if old_names:
        old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
        tensors = load_file(path / "vae" / "diffusion_pytorch_model.safetensors")
        for new, name in old.items():
            tensors = {key.replace(new, name): value for key, value in tensors.items()}
        save_file(tensors, path / "vae" / "diffusion_pytorch_model.safetensors")
    if fp16_bin:
        (path / "unet" / "diffusion_pytorch_model.safetensors").unlink()
        torch.save(
            {k: v.half() for k, v in checkpoint.unet.items()}, path / "unet" / "diffusion_pytorch_model.fp16.bin"
        )
    return path


@pytest.mark.parametrize("old_names", [False, True])
@pytest.mark.parametrize(
    "unet", [UNET, UNET_LIKE_SD15, UNET_LIKE_SD2, UNET_LIKE_SDXL], ids=["small", "sd15", "sd2", "sdxl"]
)
def test_a_diffusers_folder(tmp_path: Path, unet, old_names: bool):
    written = tiny_checkpoint(tiny_config(unet, prediction="v_prediction"))
    read = read_checkpoint(diffusers_folder(tmp_path / "sd", written, old_names))
    assert read.config == written.config and read.empty_prompt is None
    assert_same(read.unet, written.unet)
    assert_same(read.vae, written.vae)


def test_a_diffusers_folder_of_half_precision_pickles_and_the_tiny_autoencoder(tmp_path: Path):
    written = tiny_checkpoint(tiny_config(vae=TINY))
    read = read_checkpoint(diffusers_folder(tmp_path / "sd", written, fp16_bin=True))
    assert read.config == written.config
    assert_same(read.unet, {key: value.half() for key, value in written.unet.items()})


def test_a_diffusers_folders_text_encoder_is_run(tmp_path: Path, base: Checkpoint, known: None):
    folder = diffusers_folder(tmp_path / "sd", base)
    (folder / "text_encoder").mkdir()
    save_file(clip_weights(), folder / "text_encoder" / "model.safetensors")
    assert_same_prompt(read_checkpoint(folder).empty_prompt, encode_empty_prompt([clip_weights()], TEXT_WIDTH))


def test_the_published_sdxl_folder_is_understood(tmp_path: Path):
    """Its configuration files, as far as they are read."""
    kinds = ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"]
    unet = {"sample_size": 128, "in_channels": 9, "block_out_channels": [320, 640, 1280], "layers_per_block": 2}
    unet |= {"down_block_types": kinds, "attention_head_dim": [5, 10, 20], "num_attention_heads": None}
    unet |= {"transformer_layers_per_block": [1, 2, 10], "cross_attention_dim": 2048, "use_linear_projection": True}
    unet |= {"addition_embed_type": "text_time", "addition_time_embed_dim": 256}
    unet |= {"projection_class_embeddings_input_dim": 2816}
    vae = {"_class_name": "AutoencoderKL", "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2}
    vae |= {"scaling_factor": 0.13025, "force_upcast": True}
    files = {"unet/config": unet, "vae/config": vae, "scheduler/scheduler_config": {"prediction_type": "epsilon"}}
    for name, config in files.items():
        (tmp_path / f"{name}.json").parent.mkdir()
        (tmp_path / f"{name}.json").write_text(json.dumps(config))
    assert read_config(tmp_path) == SDXL_INPAINT


def test_an_sdxl_folder_and_its_two_text_encoders(tmp_path: Path, known: None):
    written, texts = tiny_checkpoint(replace(XL_CONFIG, vae=replace(KL, needs_fp32=True))), two_text_encoders()
    folder = diffusers_folder(tmp_path / "xl", written)
    for name, weights in zip(("text_encoder", "text_encoder_2"), texts, strict=True):
        (folder / name).mkdir()
        save_file({key: value.contiguous() for key, value in weights.items()}, folder / name / "model.safetensors")
    read = read_checkpoint(folder)
    assert read.config == written.config
    assert_same_prompt(read.empty_prompt, encode_empty_prompt(texts, 2 * TEXT_WIDTH))


def test_a_folder_whose_unet_is_told_something_else_is_refused(tmp_path: Path):
    folder = diffusers_folder(tmp_path / "xl", tiny_checkpoint(XL_CONFIG))
    path = folder / "unet" / "config.json"
    path.write_text(path.read_text().replace('"text_time"', '"text_image"'))
    refuses(folder, "a UNet may be told text_time of width 256 besides, got text_image of width 256.")


def test_a_diffusers_folder_without_a_scheduler_is_refused(tmp_path: Path, base: Checkpoint):
    folder = diffusers_folder(tmp_path / "sd", base)
    (folder / "scheduler" / "scheduler_config.json").unlink()
    sentence = "a diffusers folder must hold scheduler/scheduler_config.json, got none at"
    refuses(folder, sentence, error=FileNotFoundError)


def test_a_configuration_that_is_not_json_is_refused(tmp_path: Path, base: Checkpoint):
    folder = diffusers_folder(tmp_path / "sd", base)
    (folder / "vae" / "config.json").write_text("<html>")
    refuses(folder, "config.json must be JSON, but")


# UNet weights laid over a base


@pytest.mark.parametrize("prefix", ["", "module.", "unet.", "_orig_mod.", "module._orig_mod.unet."])
@pytest.mark.parametrize("ending", [".safetensors", ".bin", ".pth", ".pt"])
def test_a_flat_unet_is_laid_over_its_base(tmp_path: Path, base: Checkpoint, other_unet, prefix: str, ending: str):
    tensors, path = {prefix + key: value for key, value in other_unet.items()}, tmp_path / f"model_0{ending}"
    save_file(tensors, path) if ending == ".safetensors" else torch.save(tensors, path)
    read = read_checkpoint(path, base)
    assert_same(read.unet, other_unet)
    assert read.vae is base.vae and read.empty_prompt is base.empty_prompt and read.config is base.config


@pytest.mark.parametrize("wrappers", [["state_dict"], ["model"], ["model", "state_dict"]])
def test_wrappers_are_opened(tmp_path: Path, base: Checkpoint, other_unet, wrappers: list[str]):
    stored = other_unet
    for name in wrappers:
        stored = {name: stored, "step": 3}
    torch.save(stored, tmp_path / "a.pt")
    assert_same(read_checkpoint(tmp_path / "a.pt", base).unet, other_unet)


def test_an_emas_list_is_zipped_with_the_parameters_names(tmp_path: Path, base: Checkpoint, other_unet):
    unet = build_unet(CONFIG.unet)
    unet.load_state_dict(other_unet)
    torch.save({"decay": 0.99, "shadow_params": list(unet.parameters())}, tmp_path / "model_0_ema.pth")
    assert_same(read_checkpoint(tmp_path / "model_0_ema.pth", base).unet, other_unet)


def test_an_emas_list_of_another_length_or_without_a_base_is_refused(tmp_path: Path, base: Checkpoint):
    torch.save({"shadow_params": [torch.zeros(3)] * 5}, tmp_path / "ema.pth")
    refuses(tmp_path / "ema.pth", f"ema.pth must hold its base's {len(base.unet)} weights, got a list of 5.", base)
    refuses(tmp_path / "ema.pth", "holds a list of weights without names and needs a base that names them, got none.")


def test_a_bare_ldm_unet_is_laid_over_its_base(tmp_path: Path, base: Checkpoint, other_unet):
    tensors = {slot.ldm: other_unet[ours] for ours, slot in unet_layout(CONFIG.unet).items()}
    save_file(tensors, tmp_path / "a.safetensors")
    assert_same(read_checkpoint(tmp_path / "a.safetensors", base).unet, other_unet)


def test_a_lone_unet_folder_is_laid_over_its_base(tmp_path: Path, base: Checkpoint, other_unet):
    folder = diffusers_folder(tmp_path / "sd", replace(base, unet=other_unet)) / "unet"
    assert_same(read_checkpoint(folder, base).unet, other_unet)


def test_a_unet_without_a_base_is_refused(tmp_path: Path, other_unet):
    save_file(other_unet, tmp_path / "a.safetensors")
    sentence = "a.safetensors holds a UNet only and needs a base checkpoint to be laid over, got none."
    refuses(tmp_path / "a.safetensors", sentence)


# files that do not fit


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: t.pop("conv_in.bias"), "a.pt must hold conv_in.bias of shape (32,), but has no such key."),
        (
            lambda t: t.update({"time_embedding.linear_1.weight": torch.zeros(3, 2), "conv_out.bias": torch.zeros(9)}),
            "a.pt must hold time_embedding.linear_1.weight of shape (128, 32), got (3, 2).",
        ),
        (lambda t: t.update(extra=torch.zeros(1)), "a.pt must hold nothing but its network's weights, got extra too."),
        (lambda t: t.update(epoch=3), "a.pt must hold nothing but tensors, got epoch of type int."),
        (
            lambda t: t.update({"conv_in.weight": torch.zeros(32, 4, 3, 3)}),
            "a.pt must hold an inpainting UNet of 9 input channels (noisy 4, mask 1, masked picture 4), got one of 4.",
        ),
    ],
    ids=["missing", "misshapen", "unexpected", "no tensor", "4 channels"],
)
def test_the_first_key_that_does_not_fit_is_named(tmp_path: Path, base: Checkpoint, other_unet, change, sentence: str):
    tensors = dict(other_unet)
    change(tensors)
    torch.save(tensors, tmp_path / "a.pt")
    refuses(tmp_path / "a.pt", sentence, base)


@pytest.mark.parametrize("ours", [True, False])
def test_a_4_channel_single_file_is_refused(tmp_path: Path, known: None, ours: bool):
    path, config = tmp_path / "a.safetensors", tiny_config(replace(UNET, in_channels=4))
    write_checkpoint(path, tiny_checkpoint(config))
    if not ours:
        save_file(load_file(path), path)
    refuses(path, "a.safetensors must hold an inpainting UNet of 9 input channels")


def test_an_autoencoders_missing_key_is_named_as_it_stands_in_the_file(tmp_path: Path, base: Checkpoint, known: None):
    tensors = single_file(base)
    del tensors["first_stage_model.decoder.norm_out.bias"]
    save_file(tensors, tmp_path / "a.safetensors")
    sentence = "a.safetensors must hold first_stage_model.decoder.norm_out.bias of shape (32,), but has no such key."
    refuses(tmp_path / "a.safetensors", sentence)


def test_a_stray_key_in_our_own_file_is_named(tmp_path: Path, base: Checkpoint):
    path = tmp_path / "a.safetensors"
    write_checkpoint(path, base)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    save_file(load_file(path) | {"stray": torch.zeros(1)}, path, metadata)
    refuses(path, "a.safetensors must hold nothing but its model's weights, got stray too.")


def test_a_text_encoders_missing_key_is_named(tmp_path: Path, base: Checkpoint, known: None):
    text = {"cond_stage_model.model." + key: value for key, value in clip_weights(layers=1).items()}
    save_file(single_file(base) | text, tmp_path / "a.safetensors")
    sentence = "the text encoder must hold encoder.layers.1.layer_norm1.weight, but has no such key."
    refuses(tmp_path / "a.safetensors", sentence)


def test_weights_of_something_else_are_refused(tmp_path: Path):
    save_file({"lora_unet_down.alpha": torch.zeros(1)}, tmp_path / "a.safetensors")
    sentence = "a.safetensors must hold a Stable Diffusion UNet, got weights such as lora_unet_down.alpha."
    refuses(tmp_path / "a.safetensors", sentence)


# files that cannot be read


class Wanted:
    """Something a pickle may ask for that is no tensor."""


def test_a_pickle_that_needs_more_than_tensors_is_refused_by_name(tmp_path: Path):
    torch.save({"state_dict": {}, "callback": Wanted()}, tmp_path / "a.ckpt")
    refuses(
        tmp_path / "a.ckpt", f"a.ckpt must hold tensors only, but wants to run {Wanted.__module__}.Wanted; refused."
    )


@pytest.mark.parametrize("kept", [0, 5, 100, 5000])
def test_a_truncated_safetensors_file_is_refused(tmp_path: Path, base: Checkpoint, kept: int):
    path = tmp_path / "a.safetensors"
    write_checkpoint(path, base)
    path.write_bytes(path.read_bytes()[:kept])
    refuses(path, "a.safetensors must be a ")


@pytest.mark.parametrize("kept", [0, 1, 100, 5000])
def test_a_truncated_pickle_is_refused(tmp_path: Path, base: Checkpoint, kept: int):
    torch.save(base.unet, tmp_path / "a.pth")
    (tmp_path / "a.pth").write_bytes((tmp_path / "a.pth").read_bytes()[:kept])
    refuses(tmp_path / "a.pth", "a.pth must be a ", base)


def test_a_text_file_named_safetensors_is_refused(tmp_path: Path):
    (tmp_path / "a.safetensors").write_text("<!DOCTYPE html>")
    sentence = "a.safetensors must be a safetensors file, got one that begins with b'<!DOCTYPE'."
    refuses(tmp_path / "a.safetensors", sentence)


def test_a_text_file_named_pt_is_refused(tmp_path: Path):
    (tmp_path / "a.pt").write_text("<!DOCTYPE html>")
    refuses(tmp_path / "a.pt", "a.pt must be a file written by torch.save, got one that does not unpickle.")


def test_a_pickle_of_something_else_is_refused(tmp_path: Path):
    torch.save(3, tmp_path / "a.pt")
    refuses(tmp_path / "a.pt", "a.pt must hold tensors by name, got int.")


def test_another_ending_is_refused(tmp_path: Path):
    (tmp_path / "a.gguf").write_text("GGUF")
    refuses(tmp_path / "a.gguf", "weights must end in one of ('.safetensors', '.sft', '.ckpt', '.pt', '.pth', '.bin')")


def test_a_missing_file_and_an_empty_folder_are_refused(tmp_path: Path):
    refuses(
        tmp_path / "no.safetensors", "checkpoint must be a file or a folder that exists, got", error=FileNotFoundError
    )
    refuses(tmp_path, "a diffusers folder must hold unet/ or ", error=FileNotFoundError)


# full size


@pytest.mark.full
@pytest.mark.parametrize("config", [SD15_INPAINT, SD2_INPAINT], ids=["sd15", "sd2"])
def test_full_size_weights_through_every_route(tmp_path: Path, config: ModelConfig):
    unet = random_weights({ours: slot.shape for ours, slot in unet_layout(config.unet).items()})
    vae = random_weights({ours: slot.shape for ours, slot in vae_layout(config.vae).items()})
    prompt = Prompt(torch.rand(1, LENGTH, config.unet.context_dim))
    path = tmp_path / "a.safetensors"

    write_checkpoint(path, Checkpoint(config, unet, vae, prompt))
    ours = read_checkpoint(path)
    assert ours.config == config
    assert_same_prompt(ours.empty_prompt, prompt)
    assert_same(ours.unet, unet)
    assert_same(ours.vae, vae)

    tensors = {key: value for key, value in load_file(path).items() if key != checkpoints.PROMPT}
    names, layers = {768: ("cond_stage_model.transformer.", 12), 1024: ("cond_stage_model.model.", 24)}[
        config.unet.context_dim
    ]
    tensors |= {names + key: value for key, value in clip_weights(config.unet.context_dim, layers).items()}
    save_file(tensors, path)
    published = read_checkpoint(path)
    assert published.config == config and published.empty_prompt.tokens.shape == prompt.tokens.shape
    assert_same(published.unet, unet)
    assert_same(published.vae, vae)

    torch.save({f"module.{key}": value for key, value in unet.items()}, tmp_path / "model_0.bin")
    assert_same(read_checkpoint(tmp_path / "model_0.bin", ours).unet, unet)


def test_others_may_read_what_they_may_read_of_any_new_file(tmp_path):
    path, usual = tmp_path / "ours.safetensors", tmp_path / "usual"
    write_checkpoint(path, tiny_checkpoint())
    usual.touch()
    assert path.stat().st_mode == usual.stat().st_mode
    assert {file.name for file in tmp_path.iterdir()} == {"ours.safetensors", "usual"}
