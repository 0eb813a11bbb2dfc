"""An export on a real ComfyUI: stock Load Checkpoint, Load LoRA and sampling give the picture that our nodes give.

The server's PNGs have 8 bits, too coarse for the bound of 1e-3. So pictures leave it through the pixel-space
autoencoder of its own and Save Latent, as fp32.
"""

from pathlib import Path

import pytest
import torch
from PIL import Image, ImageDraw
from safetensors.torch import load_file, save_file
from stock_checkpoint import SHAPE, text_encoder
from test_lora import with_lora
from test_server import ROOT, drive
from tiny import tiny_checkpoint
from torch import Tensor
from torch.nn.functional import unfold

from inpainting_core.architecture import ModelConfig, VAEShape
from inpainting_core.built_in import BUILT_IN, NANO
from inpainting_core.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from inpainting_core.choosing import Choice, choose, draw_noise
from inpainting_core.engine import load_unet
from inpainting_core.grain import match_grain
from inpainting_core.latents import unet_input
from inpainting_core.schedule import Schedule, add_noise
from training.export_comfyui import main, parse_args
from training.networks.lora import lora_weights, write_lora
from workflows.client import Client, with_mask
from workflows.comfyui import Server

SIDE, HOLE = 192, (64, 48, 127, 111)  # on the latent's grid of 8 px: the stock conditioning rounds masks off it
STEPS, SEED = 4, 7  # the stock scheduler "simple" visits our trailing timesteps where the steps divide 1000
BOUND = 1e-3


@pytest.fixture(scope="session")
def exported(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Names on the server: an export, a LoRA for it, and an export with that LoRA folded in."""
    folder, models = tmp_path_factory.mktemp("export"), server.base / "models"
    (models / "loras").mkdir(exist_ok=True)
    checkpoint = small_model()
    write_checkpoint(folder / "model.safetensors", checkpoint, torch.float32)
    save_file({key: 8 * value.float() for key, value in text_encoder().items()}, folder / "text.safetensors")
    lora = lora_weights(with_lora(load_unet(checkpoint)))
    write_lora(models / "loras" / "eraser-lora.safetensors", lora, checkpoint.config, torch.float32)
    given = ["--model", folder / "model.safetensors", "--text-encoder", folder / "text.safetensors", "--dtype", "fp32"]
    merged = ["--lora", models / "loras" / "eraser-lora.safetensors"]
    for name, more in (("eraser.safetensors", []), ("eraser-merged.safetensors", merged)):
        main(parse_args([str(part) for part in [*given, *more, "--out", models / "checkpoints" / name]]))
    return {"model": "eraser.safetensors", "lora": "eraser-lora.safetensors", "merged": "eraser-merged.safetensors"}


def small_model() -> Checkpoint:
    """One level of SD1.5's width, so that Load Checkpoint takes it; the nano's autoencoder; no prompt of its own."""
    made = tiny_checkpoint(ModelConfig(unet=SHAPE, vae=VAEShape(kind="tiny"), resolution=SIDE))
    return Checkpoint(made.config, with_fitted_end(made), read_checkpoint(BUILT_IN[NANO]).vae)


@torch.no_grad()
def with_fitted_end(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The random UNet's weights, the last layer fitted to predict noise: its pictures keep within what can be shown."""
    unet, seen, generator = load_unet(checkpoint), [], torch.Generator().manual_seed(3)
    unet.conv_out.register_forward_pre_hook(lambda _, given: seen.append(unfold(given[0], 3, padding=1)))
    timesteps = torch.tensor([999, 749, 499, 249]).repeat(3)
    signal = Schedule().signal[timesteps]
    clean, noise = torch.randn(2, len(signal), 4, 20, 20, generator=generator)
    noisy = add_noise(0.2 * clean, noise, signal)
    unet(unet_input(noisy, torch.zeros(1, 1, 20, 20), 0.2 * clean), timesteps, torch.zeros(len(signal), 77, 768))
    (features,) = (one.movedim(1, -1).flatten(0, 1) for one in seen)
    features = torch.cat([features, torch.ones(len(features), 1)], dim=1)
    ridge = 0.01 * len(features) * torch.eye(features.shape[1])
    fit = torch.linalg.solve(features.T @ features + ridge, features.T @ noise.flatten(2).movedim(1, -1).flatten(0, 1))
    unet.conv_out.weight.copy_(fit[:-1].T.reshape(unet.conv_out.weight.shape))
    unet.conv_out.bias.copy_(fit[-1])
    return unet.state_dict()


@pytest.fixture
def square(tmp_path: Path) -> Path:
    """A part of a photograph that is one crop as a whole, and beside it a mask."""
    Image.open(ROOT / "assets" / "pictures" / "wren.jpg").crop((250, 40, 250 + SIDE, 40 + SIDE)).save(
        tmp_path / "photo.png"
    )
    mask = Image.new("L", (SIDE, SIDE))
    ImageDraw.Draw(mask).rectangle(HOLE, fill=255)
    mask.save(tmp_path / "mask.png")
    return tmp_path / "photo.png"


def graph(nodes: dict[str, tuple[str, dict]]) -> dict:
    """An API prompt from ``{id: (class type, inputs)}``; a link is a list [id, output]."""
    return {
        name: {"class_type": kind, "inputs": inputs, "_meta": {"title": kind}} for name, (kind, inputs) in nodes.items()
    }


def leaving(picture: list) -> dict[str, tuple[str, dict]]:
    """The nodes through which a picture leaves the server in fp32."""
    return {
        "pixels": ("VAELoader", {"vae_name": "pixel_space"}),
        "as_latent": ("VAEEncode", {"pixels": picture, "vae": ["pixels", 0]}),
        "save": ("SaveLatent", {"samples": ["as_latent", 0], "filename_prefix": "picture"}),
    }


def our_nodes(model: str, lora: str | None, attention: str) -> dict[str, tuple[str, dict]]:
    """Load Erase Model, stock Load LoRA where there is one, Erase (EraDiff)."""
    erase = {"steps": STEPS, "seed": SEED, "grow": 0, "context": 4.0, "resolution": 0, "strength": 1.0}
    loaded = {"vae": ["load", 1], "conditioning": ["load", 2], "image": ["photo", 0], "mask": ["photo", 1]}
    nodes = {"load": ("EraseOnceLoadModel", {"model": model, "unet": "none"})}
    if lora:
        with_it = {"model": ["load", 0], "lora_name": lora, "strength_model": 1.0}
        nodes["lora"] = ("LoraLoaderModelOnly", with_it)
    patched = ["lora", 0] if lora else ["load", 0]
    nodes["erase"] = ("EraseOnceEraDiff", {"model": patched, **loaded, **erase, "attention": attention})
    return nodes | leaving(["erase", 0])


def stock_nodes(model: str, lora: str | None, attention: str) -> dict[str, tuple[str, dict]]:
    """The same path in stock nodes: Euler is DDIM, and the noised original goes in by Add Noise.

    (A sampler's own noise is scaled as for an empty start at the highest level.)  Plain attention is stock throughout;
    EraDiff's is our one patch on the stock model.
    """
    nodes = {"load": ("CheckpointLoaderSimple", {"ckpt_name": model})}
    model_link, clip_link = ["load", 0], ["load", 1]
    if lora:
        with_it = {
            "model": model_link,
            "clip": clip_link,
            "lora_name": lora,
            "strength_model": 1.0,
            "strength_clip": 1.0,
        }
        nodes["lora"] = ("LoraLoader", with_it)
        model_link, clip_link = ["lora", 0], ["lora", 1]
    if attention != "off":
        where = {"mask": ["photo", 1], "mode": attention, "blocks": "all", "start_percent": 0.0, "end_percent": 1.0}
        nodes["attention"] = ("EraseOnceSRA", {"model": model_link, **where})
        model_link = ["attention", 0]
    looks_at = {"vae": ["load", 2], "pixels": ["photo", 0], "mask": ["photo", 1], "noise_mask": False}
    prompt = {"positive": ["text", 0], "negative": ["text", 0]}
    sigmas = {"model": model_link, "scheduler": "simple", "steps": STEPS, "denoise": 1.0}
    noised = {"model": model_link, "noise": ["noise", 0], "sigmas": ["sigmas", 0], "latent_image": ["looks_at", 2]}
    run = {"model": model_link, "sampler": ["euler", 0], "sigmas": ["sigmas", 0], "latent_image": ["noised", 0]}
    run |= {"positive": ["looks_at", 0], "negative": ["looks_at", 1]}
    nodes |= {
        "text": ("CLIPTextEncode", {"clip": clip_link, "text": ""}),
        "looks_at": ("InpaintModelConditioning", prompt | looks_at),
        "sigmas": ("BasicScheduler", sigmas),
        "noise": ("RandomNoise", {"noise_seed": SEED}),
        "noised": ("AddNoise", noised),
        "euler": ("KSamplerSelect", {"sampler_name": "euler"}),
        "sample": ("SamplerCustom", {**run, "add_noise": False, "noise_seed": SEED, "cfg": 1.0}),
        "decode": ("VAEDecode", {"samples": ["sample", 0], "vae": ["load", 2]}),
    }
    return nodes | leaving(["decode", 0])


def pictures(server: Server, photo: Path, graphs: list[dict[str, tuple[str, dict]]]) -> list[Tensor]:
    """What each graph gives for the photograph, [1, 3, h, w]."""

    async def scenario(client: Client) -> list[dict]:
        image = await client.upload(with_mask(photo, photo.with_name("mask.png")), "square.png")
        nodes = {"photo": ("LoadImage", {"image": image})}
        return [await client.run(graph(nodes | more)) for more in graphs]

    found = [outputs["save"]["latents"][0] for outputs in drive(server, scenario)]
    files = [server.base / "output" / one["subfolder"] / one["filename"] for one in found]
    return [load_file(file)["latent_tensor"] / 2 + 0.5 for file in files]  # a latent lies in [-1, 1]


def laid_back(fill: Tensor, photo: Path) -> Tensor:
    """What our nodes do around any sampling: match the fill's grain and colour and lay it into the hole."""
    pixels = torch.frombuffer(bytearray(Image.open(photo).convert("RGB").tobytes()), dtype=torch.uint8)
    view = pixels.view(1, SIDE, SIDE, 3).movedim(-1, 1).float() / 255
    hole = torch.zeros(1, 1, SIDE, SIDE)
    left, top, right, bottom = HOLE
    hole[..., top : bottom + 1, left : right + 1] = 1
    generators = Choice(seed=SEED).generators
    draw_noise(torch.Size((1, 4, SIDE // 8, SIDE // 8)), generators)  # the sampling's own
    fill = match_grain(fill, view, hole, draw_noise(fill.shape, generators))
    return torch.where(hole > 0, choose(lambda view, hole: fill, view, hole, Choice()).fills, view)


def far(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())


@pytest.mark.parametrize("attention", ["off", "rectified"])
def test_an_export_erases_through_stock_nodes_as_through_ours(
    server: Server, square: Path, exported: dict[str, str], attention: str
):
    model = exported["model"]
    other = "rectified" if attention == "off" else "off"
    graphs = [our_nodes(model, None, attention), stock_nodes(model, None, attention), our_nodes(model, None, other)]
    ours, stock, unlike = pictures(server, square, graphs)
    print(f"{attention}: stock {far(laid_back(stock, square), ours):.1e}, the other attention {far(unlike, ours):.1e}")
    assert far(laid_back(stock, square), ours) < BOUND < far(unlike, ours)


def test_the_lora_does_in_stock_load_lora_what_it_does_in_training(
    server: Server, square: Path, exported: dict[str, str]
):
    """Stock all the way, our nodes with the stock Load LoRA, and an export with the LoRA folded in."""
    model, lora, merged = exported["model"], exported["lora"], exported["merged"]
    graphs = [
        our_nodes(merged, None, "rectified"),
        our_nodes(model, lora, "rectified"),
        stock_nodes(model, lora, "rectified"),
        our_nodes(model, None, "rectified"),
    ]
    folded, ours, stock, without = pictures(server, square, graphs)
    stock = laid_back(stock, square)
    print(f"LoRA: stock {far(stock, ours):.1e}, folded in {far(folded, ours):.1e}, without {far(without, ours):.1e}")
    assert max(far(stock, ours), far(folded, ours)) < BOUND < far(without, ours) / 5
    assert "lora key not loaded" not in server.log.read_text()
