"""From a graph as ComfyUI's page saves it to a prompt as its server runs it.

The page stores a node's widgets by position, so the server's ``/object_info`` is needed to name them.
"""

WIDGETS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}
NOTES = {"Note", "MarkdownNote"}
REROUTE = "Reroute"
EXAMPLE = "EraseOnceExamplePicture"
MUTED, BYPASSED = 2, 4


def to_prompt(graph: dict, object_info: dict) -> dict:
    """The API prompt of a saved graph: ``{node id: {class_type, inputs, _meta}}``.

    A muted node is left out.  Raises ValueError for a bypassed node, for one that a muted node feeds, for a type the
    server does not know, and for widget values that do not fit their node.
    """
    nodes = {node["id"]: node for node in graph["nodes"]}
    origins = {link[0]: (link[1], link[2]) for link in graph["links"]}
    prompt = {}
    for node in nodes.values():
        if node["type"] in NOTES | {REROUTE} or node.get("mode") == MUTED:
            continue
        check(node, object_info)
        inputs = widget_values(node, object_info[node["type"]])
        for slot in node.get("inputs", []):
            if slot.get("link") is not None:
                origin, index = trace(slot["link"], origins, nodes)
                inputs[slot["name"]] = [str(origin), index]
        title = node.get("title", node["type"])
        prompt[str(node["id"])] = {"class_type": node["type"], "inputs": inputs, "_meta": {"title": title}}
    return prompt


def check(node: dict, object_info: dict) -> None:
    """Raises ValueError for a node that cannot be run as it stands."""
    if node.get("mode") == BYPASSED:
        raise ValueError(f"every node must be active or muted, got {node['type']} (node {node['id']}) bypassed.")
    if node["type"] not in object_info:
        raise ValueError(f"every node type must be known to the server, got {node['type']} (node {node['id']}).")


def trace(link: int, origins: dict, nodes: dict) -> tuple[int, int]:
    """The node and output that feed a link, reroutes passed through.  Raises ValueError for a muted node."""
    origin, index = origins[link]
    if nodes[origin].get("mode") == MUTED:
        raise ValueError(f"no active node must be fed by a muted one, got {nodes[origin]['type']} (node {origin}).")
    if nodes[origin]["type"] == REROUTE:
        return trace(nodes[origin]["inputs"][0]["link"], origins, nodes)
    return origin, index


def widget_values(node: dict, info: dict) -> dict:
    """A node's widget values by name; a widget added to the node since the graph was saved takes its default.

    Raises ValueError where the graph holds more values than the node has places.
    """
    stored, values = list(node.get("widgets_values", [])), {}
    for name, kind, options in widgets(info):
        if stored:
            values[name] = stored.pop(0)
        elif "default" in options:
            values[name] = options["default"]
        else:
            raise ValueError(f"{node['type']} (node {node['id']}) must hold a value for {name}, got none.")
        if has_control(name, kind, options):
            del stored[:1]
    if stored and not (stored == ["image"] and has_upload(info)):
        raise ValueError(f"{node['type']} (node {node['id']}) must hold one value a widget, got {stored} left over.")
    return values


def widgets(info: dict) -> list[tuple[str, str, dict]]:
    """A node type's widgets in the order their values are stored: (name, type, options)."""
    found = []
    for group in ("required", "optional"):
        for name in info["input_order"].get(group, []):
            kind, options = (*info["input"][group][name], {})[:2]
            kind = "COMBO" if isinstance(kind, list) else kind
            if kind in WIDGETS and not options.get("forceInput"):
                found.append((name, kind, options))
    return found


def has_control(name: str, kind: str, options: dict) -> bool:
    """Whether the page stores a second value behind this one: what happens to the seed after a run."""
    return kind == "INT" and bool(options.get("control_after_generate", name in ("seed", "noise_seed")))


def has_upload(info: dict) -> bool:
    """Whether the page adds an upload button, whose value is stored last."""
    return any(options.get("image_upload") for _, _, options in widgets(info))


def take_picture(prompt: dict, image: str) -> None:
    """Puts an uploaded picture with its mask in the place of the example: both nodes give picture and mask, in order.

    Raises ValueError where the prompt holds no example.
    """
    examples = [node for node in prompt.values() if node["class_type"] == EXAMPLE]
    if not examples:
        types = sorted(node["class_type"] for node in prompt.values())
        raise ValueError(f"the graph must hold a {EXAMPLE} node, got {types}.")
    for node in examples:
        node |= {"class_type": "LoadImage", "inputs": {"image": image}}


def fill_in(prompt: dict, class_type: str, **inputs: object) -> None:
    """Sets inputs of every node of a type in a prompt; raises ValueError where there is no such node or input."""
    nodes = [node for node in prompt.values() if node["class_type"] == class_type]
    if not nodes:
        raise ValueError(
            f"the graph must hold a {class_type} node, got {sorted(n['class_type'] for n in prompt.values())}."
        )
    for node in nodes:
        if unknown := inputs.keys() - node["inputs"].keys():
            raise ValueError(f"{class_type} must have the inputs that are set, got none named {sorted(unknown)}.")
        node["inputs"].update(inputs)
