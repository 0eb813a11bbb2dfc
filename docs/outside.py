"""What the pages link to outside of this folder, so that one link works on the site and where the sources are read.

``](../assets/pictures/NAME)`` is shown from a copy on the site; any other ``](../PATH)`` leads to the repository.
"""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

PICTURES = Path(__file__).resolve().parents[1] / "assets" / "pictures"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pictures to the site."""
    for picture in sorted(PICTURES.glob("*.jpg")):
        files.append(File.generated(config, f"pictures/{picture.name}", abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrites the links of a page that lies directly in this folder."""
    shown = markdown.replace("](../assets/pictures/", "](pictures/")
    return re.sub(r"\]\(\.\./", f"]({config.repo_url}/blob/main/", shown)
