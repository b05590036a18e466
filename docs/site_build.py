"""What the site does beyond Markdown: it draws pictures, and takes in pages from the top folder.

Mermaid pictures become SVG while the site is built, so that readers load no script. Forges draw the same
fences themselves. mkdocs.yml names this file under `hooks`.
"""

import re
from pathlib import Path

from mermaidx import render
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

_ROOT = Path(__file__).parents[1]
# Page of the site -> file in the top folder.
_FROM_TOP = {
    "contributing.md": "CONTRIBUTING.md",
    "security.md": "SECURITY.md",
    "changelog.md": "CHANGELOG.md",
}
_PICTURE = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ID = "my-svg"  # which the renderer gives to each picture


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for page, source in _FROM_TOP.items():
        files.append(File.generated(config, page, abs_src_path=str(_ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    if page.file.src_uri in _FROM_TOP:
        up, markdown = "", markdown.replace("](docs/", "](")
    else:
        up = "../" * (page.file.src_uri.count("/") + 1)
    for target, source in _FROM_TOP.items():
        markdown = markdown.replace(f"]({up}{source}", f"]({up.removeprefix('../')}{target}")
    pictures = iter(range(1, 100))
    return _PICTURE.sub(lambda found: _drawn(found[1], next(pictures)), markdown)


def _drawn(source: str, number: int) -> str:
    svg = str(render(source).svg()).replace(_ID, f"picture-{number}")
    return f'<div class="picture">{svg}</div>'
