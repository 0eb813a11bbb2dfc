"""What a detector's configuration may say: numbers of its network, and nothing that names another place.

transformers' own configurations may name a backbone, or the code of its attention, which are then fetched from the
internet; a file that somebody gives away must not be able to ask for that.  So the numbers that shape a Mask2Former on
a Swin are taken one by one, and whatever else is said (how it was trained, what its classes are called) is left out.
"""

from collections.abc import Mapping

from inpainting_core.bounds import require_number, require_whole, require_wholes, require_yes_or_no

STAGES = range(4, 5)  # of a Swin
WIDEST, MOST_CLASSES = 2**12, 2**14
ACTIVATIONS = ("gelu", "relu", "silu", "gelu_new", "gelu_pytorch_tanh", "quick_gelu")

# Name -> the least and the most that it may be.  What only a training reads is taken too, so that one can go on.
WHOLE = dict.fromkeys(
    ("feature_size", "mask_feature_size", "hidden_dim", "encoder_feedforward_dim", "dim_feedforward"), (1, WIDEST)
)
WHOLE |= {"encoder_layers": (1, 64), "decoder_layers": (1, 64), "num_queries": (1, WIDEST), "common_stride": (1, 64)}
WHOLE |= {"num_attention_heads": (1, 256), "train_num_points": (1, 2**20), "ignore_value": (0, 255)}
NUMBERS = dict.fromkeys(
    ("class_weight", "mask_weight", "dice_weight", "no_object_weight", "oversample_ratio"), (0, 1e4)
)
NUMBERS |= dict.fromkeys(("dropout", "importance_sample_ratio", "init_std", "init_xavier_std"), (0, 1e2))
SWITCHES = ("pre_norm", "enforce_input_projection", "use_auxiliary_loss")
LISTS = {"feature_strides": (1, 64)}

SWIN_WHOLE = {"image_size": (1, WIDEST), "patch_size": (1, 32), "num_channels": (1, 4), "window_size": (1, 64)}
SWIN_WHOLE |= {"embed_dim": (1, 1024)}
SWIN_NUMBERS = dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob", "drop_path_rate"), (0, 0.99))
SWIN_NUMBERS |= {"mlp_ratio": (0.1, 16), "layer_norm_eps": (1e-12, 0.1), "initializer_range": (0, 1e2)}
SWIN_SWITCHES = ("qkv_bias", "use_absolute_embeddings")
SWIN_LISTS = {"depths": (1, 64), "num_heads": (1, 256)}


def plain_config(said: object, source: str) -> dict:
    """The part of a Mask2Former's configuration that its network is built from.

    Raises ValueError, which names ``source``, for one that is no such configuration or says what no such network has.
    """
    try:
        return _network(_described(said, "a network"))
    except ValueError as err:
        raise ValueError(f"{source} must describe a Mask2Former on a Swin: {err}") from err


def _network(said: Mapping) -> dict:
    backbone = _described(said.get("backbone_config"), "its backbone_config")
    if backbone.get("model_type") != "swin" or said.get("backbone") is not None:
        kind = said.get("backbone") or backbone.get("model_type")
        raise ValueError(f"its backbone must be a swin, got {kind!r:.40}.")
    kept = _kept(said, WHOLE, NUMBERS, SWITCHES, LISTS) | _one_of(said, "activation_function")
    return kept | {"backbone_config": _swin(backbone)} | _classes(said)


def _swin(said: Mapping) -> dict:
    stages = [f"stage{number}" for number in range(1, STAGES.start + 1)]
    kept = _kept(said, SWIN_WHOLE, SWIN_NUMBERS, SWIN_SWITCHES, SWIN_LISTS) | _one_of(said, "hidden_act")
    return {"model_type": "swin", "out_features": stages} | kept


def _kept(said: Mapping, whole: Mapping, numbers: Mapping, switches: tuple[str, ...], lists: Mapping) -> dict:
    """What is said under the known names, each of its kind and within its bounds."""
    for name in whole.keys() & said.keys():
        require_whole(name, said[name], *whole[name])
    for name in numbers.keys() & said.keys():
        require_number(name, said[name], *numbers[name])
    for name in set(switches) & said.keys():
        require_yes_or_no(name, said[name])
    for name in lists.keys() & said.keys():
        require_wholes(name, said[name], STAGES, *lists[name])
    kept = {name: said[name] for name in said if name in {*whole, *switches, *lists}}
    return kept | {name: float(said[name]) for name in numbers.keys() & said.keys()}


def _classes(said: Mapping) -> dict:
    """How many classes there are, said in number or by their names; transformers writes neither where there are two."""
    if "num_labels" not in said and "id2label" not in said:
        return {}
    number = said["num_labels"] if "num_labels" in said else len(_described(said["id2label"], "id2label"))
    require_whole("num_labels", number, 1, MOST_CLASSES)
    return {"num_labels": number}


def _one_of(said: Mapping, name: str) -> dict:
    if name in said and said[name] not in ACTIVATIONS:
        raise ValueError(f"{name} must be one of {', '.join(ACTIVATIONS)}, got {said[name]!r:.40}.")
    return {name: said[name]} if name in said else {}


def _described(said: object, what: str) -> Mapping:
    if not isinstance(said, Mapping):
        raise ValueError(f"{what} must be described by name, got {said!r:.40}.")
    return said


def least_weights(config: Mapping) -> int:
    """As many weights as a network of this configuration has at the least: its large matrices."""
    swin = {"embed_dim": 96, "depths": [2, 2, 6, 2], "mlp_ratio": 4.0} | config["backbone_config"]
    width, ratio = swin["embed_dim"], 4 + 2 * swin["mlp_ratio"]
    backbone = sum(depth * ratio * (width << stage) ** 2 for stage, depth in enumerate(swin["depths"]))
    hidden, queries = config.get("hidden_dim", 256), config.get("num_queries", 100)
    pixels = config.get("encoder_layers", 6) * 2 * config.get("feature_size", 256)
    decoder = (config.get("decoder_layers", 10) - 1) * hidden * (8 * hidden + 2 * config.get("dim_feedforward", 2048))
    return int(backbone + pixels * config.get("encoder_feedforward_dim", 1024) + decoder + 2 * queries * hidden)
