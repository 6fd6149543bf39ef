"""What the docs site takes from the top of the repository: README and its like as pages, and the screenshots."""

import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
PICTURES = "Resources/Screenshots/"


def on_files(files, config):
    """Add the pages and the pictures."""
    for name, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text("utf-8")))
    for picture in sorted((ROOT / PICTURES).glob("*.png")):
        files.append(File.generated(config, f"pictures/{picture.name}", abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Links as they work on the site; files of the repository that it does not show lead to the repository."""
    markdown = re.sub(rf"(?:\.\./)?{PICTURES}", "pictures/", markdown)

    def link(match):
        target = match[1].removeprefix("../")
        if match[1].startswith(("http", "#", "pictures/")):
            return match[0]
        target = PAGES.get(target, target.removeprefix("docs/"))
        if files.get_file_from_path(target.partition("#")[0]):
            return f"]({target})"
        return f"]({config['repo_url']}/blob/main/{match[1].removeprefix('../')})"

    return re.sub(r"\]\(([^)\s]+)\)", link, markdown)
