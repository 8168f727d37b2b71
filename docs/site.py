"""What the site shows beside ``docs/*.md``: settings from the schema, the API, the records, the card of the weights."""

from __future__ import annotations

import html
import os
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

from agnn_lit.config import SCHEMAS, register_schemas
from agnn_lit.config.help import composed, group_options, grouped, shown
from agnn_lit.config.setting import Entry
from agnn_lit.shared.runs import register_resolvers

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "agnn_lit"
#: Rooms of the code in the API reference; commands and the page in the browser are used from the command line.
ROOMS = ("config", "data", "model", "metrics", "training", "inference", "instances", "report", "sweeps", "benchmarks")
#: Files of a record that pages link to or show.
SHOWN = (".md", ".svg", ".jpg", ".png", ".csv", ".json", ".py")
#: Where a file of the repository is on the site; what is not there is named without a link.
PLACES = (
    (re.compile(r"^experiments/([^/]+)/README\.md$"), r"results/\1/index.md"),
    (re.compile(r"^experiments/(.+\.(?:md|svg|jpg|png|csv|json|py))$"), r"results/\1"),
    (re.compile(r"^src/agnn_lit/pretrained/README\.md$"), "weights.md"),
    (re.compile(r"^CONTRIBUTING\.md$"), "contributing.md"),
    (re.compile(r"^README\.md$"), "index.md"),
    (re.compile(r"^docs/(.+\.(?:md|jpg))$"), r"\1"),
)
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s:]+)\)")


def on_config(config: Any) -> Any:
    """Add the pages that are made to the navigation."""
    for part in config.nav:
        if "Results" in part:
            records = sorted(file.parent.name for file in (ROOT / "experiments").glob("*/README.md"))
            part["Results"] = ["results.md", {"Weights in the package": "weights.md"}]
            part["Results"] += [{"Records": [f"results/{name}/index.md" for name in records]}]
        if "API reference" in part:
            part["API reference"] = ["reference/index.md", *(f"reference/{room}.md" for room in ROOMS)]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made, and the files of the repository that are shown."""
    for page, text in pages().items():
        files.append(File.generated(config, page, content=text))
    copied = {
        "weights.md": SOURCE / "pretrained" / "README.md",
        "contributing.md": ROOT / "CONTRIBUTING.md",
    }
    for file in sorted((ROOT / "experiments").rglob("*")):
        if file.suffix in SHOWN and "__pycache__" not in file.parts:
            name = file.relative_to(ROOT / "experiments").as_posix().replace("README.md", "index.md")
            copied[f"results/{name}"] = file
    for page, file in copied.items():
        files.append(File.generated(config, page, abs_src_path=str(file)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:  # noqa: ARG001
    """Point links between files of the repository to their places on the site."""
    return moved_links(markdown, page.file.src_uri)


def moved_links(markdown: str, page: str) -> str:
    """Return a page's text with its links as they are on the site.

    Args:
        markdown: text with links as in the repository.
        page: place of the page on the site.
    """
    here = origin(page)

    def moved(link: re.Match[str]) -> str:
        picture, text, target = link.groups()
        path, _, anchor = target.partition("#")
        if not path:
            return link[0]
        file = Path(os.path.normpath(here.parent / path))
        for pattern, place in PLACES:
            if pattern.match(file.as_posix()):
                found = pattern.sub(place, file.as_posix())
                up = "../" * page.count("/")
                return f"{picture}[{text}]({up}{found}{'#' + anchor if anchor else ''})"
        return text if (ROOT / file).exists() else link[0]  # a file that only the repository has

    return _LINK.sub(moved, markdown)


def origin(page: str) -> Path:
    """Return the file of the repository, relative to its root, that a page of the site is made from."""
    if page == "weights.md":
        return Path("src/agnn_lit/pretrained/README.md")
    if page == "contributing.md":
        return Path("CONTRIBUTING.md")
    if page.startswith("results/"):
        return Path("experiments") / page.removeprefix("results/").replace("index.md", "README.md")
    return Path("docs") / page


def pages() -> dict[str, str]:
    """Return the pages that are made: text by place."""
    made = {"settings.md": settings_page(), "reference/index.md": reference_index()}
    for room in ROOMS:
        modules = sorted(_modules(SOURCE / room))
        made[f"reference/{room}.md"] = f"# agnn_lit.{room}\n\n" + "\n".join(f"::: {name}\n" for name in modules)
    return made


def _modules(folder: Path) -> list[str]:
    found = []
    for file in folder.rglob("*.py"):
        if not file.name.startswith("_") and "published" not in file.parts:
            found.append(".".join(file.relative_to(SOURCE.parent).with_suffix("").parts))
    return found


def reference_index() -> str:
    """Return the first page of the API reference."""
    rooms = "\n".join(f"- [`agnn_lit.{room}`]({room}.md)" for room in ROOMS)
    return (
        "# API reference\n\nMost programs need no more than `agnn_lit` itself. The rooms of the code below it are "
        f"documented for those who extend it.\n\n{rooms}\n\n::: agnn_lit.api\n"
    )


def settings_page() -> str:
    """Return the page of all settings: one part for each command, with a table for each group."""
    register_schemas()
    register_resolvers()
    parts = [
        "# Settings\n\nEvery setting of every command, as `--help` lists it: `agnn-COMMAND key=value`. `null` means "
        "not set. Groups of values that belong together are chosen as `group=option`, for example `backbone=lite0`.\n"
    ]
    for command, schema in SCHEMAS.items():
        cfg, values = composed(command)
        parts.append(f"\n## agnn-{command}\n")
        chosen = group_options(cfg)
        if chosen:
            parts.append("| group | options |\n|---|---|")
            parts += [f"| `{name}` | {', '.join(f'`{o}`' for o in options)} |" for name, options in chosen.items()]
        for key, title, found in grouped(schema()):
            parts.append(f"\n### {key or 'settings'} {{ #{command}-{key.replace('.', '-') or 'settings'} }}\n")
            parts.append(f"{title}\n\n| setting | default | meaning | unit | allowed |\n|---|---|---|---|---|")
            parts += [row(entry, values.get(entry.key, entry.value)) for entry in found]
    return "\n".join(parts) + "\n"


def row(entry: Entry, value: Any) -> str:
    """Return the line of a setting."""
    about = entry.about
    cells = (f"`{entry.key}`", f"`{shown(value)}`" if shown(value) else "", about.meaning, about.unit, about.possible)
    return "| " + " | ".join(cell if cell.startswith("`") else _escaped(cell) for cell in cells) + " |"


def _escaped(text: str) -> str:
    """Escape what a table cell would take for markup: ``<name>`` and ``|``."""
    return html.escape(text, quote=False).replace("|", "\\|")
