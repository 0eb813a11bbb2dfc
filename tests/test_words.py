"""The words on our nodes: every tooltip is there, English is what the schemas say, and no translation is behind it."""

import json
import re
from collections import Counter
from urllib.request import urlopen

import pytest

from workflows.comfyui import Server
from workflows.describe import LOCALES, category_words, node_words, read

LANGUAGES = ("en", "zh", "zh-TW", "ja", "ko", "ru", "fr", "es")
FILES = ("nodeDefs.json", "main.json")
# What a translation keeps as it is; the frontend shows the choices of a combo untranslated.
BRANDS = (
    "YOEO",
    "EraDiff",
    "Mask2Former",
    "SamplerCustom",
    "UNet",
    "RGB",
    "SD1.5",
    "SD2",
    "SDXL",
    "MSN",
    "MARS",
    "IoS",
)
CHOICES = ("rectified", "strict", "off", "original", "mixed", "yoeo", "eradiff", "loss", "metric", "custom")
CHOICES += ("wren", "rocket", "satellite")

every_translation = pytest.mark.parametrize("language", LANGUAGES[1:])


def texts(words: dict, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], str]:
    """Every text of a nested dictionary by its path."""
    found = {}
    for key, value in words.items():
        found |= texts(value, (*path, key)) if isinstance(value, dict) else {(*path, key): value}
    return found


def kept(english: str) -> list[str]:
    """What of an English text must stand in every translation of it: brands, folders, choices."""
    folders = re.findall(r"models/\w+", english)
    return [word for word in BRANDS if word in english] + folders + [c for c in CHOICES if f"{c}:" in english]


def numbers(text: str) -> Counter:
    """The numbers in a text, with a decimal comma or point."""
    return Counter(re.findall(r"\d+(?:\.\d+)?", re.sub(r"(?<=\d),(?=\d)", ".", text)))


def test_english_is_what_the_schemas_say(object_info: dict):
    assert read("en") == node_words(object_info), "python -m workflows.describe writes it anew"
    assert read("en", "main.json") == category_words(object_info)


def test_every_node_input_and_output_says_what_it_is(object_info: dict):
    assert [path for path, text in texts(node_words(object_info)).items() if not text] == []


def test_every_folder_of_words_is_a_language_that_is_tested():
    assert sorted(folder.name for folder in LOCALES.iterdir()) == sorted(LANGUAGES)


@every_translation
@pytest.mark.parametrize("file", FILES)
def test_a_translation_has_every_text_and_no_other(language: str, file: str):
    words = texts(read(language, file))
    assert words.keys() == texts(read("en", file)).keys()
    assert [path for path, text in words.items() if not text.strip()] == []


@every_translation
def test_no_sentence_is_left_in_english(language: str):
    english, words = texts(read("en")), texts(read(language))
    assert [path for path in words if path[-1] in ("tooltip", "description") and words[path] == english[path]] == []


@every_translation
def test_equal_texts_are_translated_alike(language: str):
    english, met = texts(read("en")), {}
    for path, text in texts(read(language)).items():
        assert met.setdefault(english[path], text) == text, path


@every_translation
def test_a_translation_says_the_same_numbers_brands_folders_and_choices(language: str):
    words = texts(read(language))
    for path, english in texts(read("en")).items():
        assert [word for word in kept(english) if word not in words[path]] == [], path
        assert not numbers(english) - numbers(words[path]), path


@every_translation
def test_a_translation_calls_our_nodes_what_they_are_called_there(language: str):
    english, words = read("en"), read(language)
    titles = {english[node]["display_name"]: words[node]["display_name"] for node in english}
    for path, text in texts(english).items():
        named = [theirs for title, theirs in titles.items() if title in text]
        assert [theirs for theirs in named if theirs not in texts(words)[path]] == [], path


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_holds_what_the_frontend_takes_for_its_message_syntax(language: str):
    assert [text for text in texts(read(language)).values() if re.search(r"[{}@|$]", text)] == []


def test_the_server_hands_out_every_language(server: Server):
    with urlopen(f"http://{server.address}/api/i18n") as answer:
        served = json.load(answer)
    for language in LANGUAGES:
        assert served[language]["nodeDefs"] == read(language)
        assert served[language]["nodeCategories"] == read(language, "main.json")["nodeCategories"]
