"""The code blocks of README.md and docs/, as found in the text."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^(?P<fence>`{3,})(?P<info>[^\n`]*)\n(?P<body>.*?)^(?P=fence)[ ]*$", re.MULTILINE | re.DOTALL)
SAVED = re.compile(r"[Ss]ave (?:this|it) as `(?P<name>[\w./-]+)`[^`\n]*:\s*\Z")
NOT_RUN = re.compile(r"\{\.(?P<language>\w+) \.not-run reason=\"(?P<reason>[^\"]{10,})\"\}")
LANGUAGES = {"sh", "python", "json", "yaml", "toml", "text"}


@dataclass(frozen=True)
class Block:
    """One block: `saved` is the name under which the sentence before it says to save it; `reason` is why it does not run."""

    page: Path
    line: int
    language: str
    body: str
    saved: str | None = None
    reason: str | None = None

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT).as_posix()}:{self.line}"


def name_of(page):
    return page.relative_to(ROOT).as_posix()


def blocks(page):
    """Every block of a page, in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        info = match["info"].strip()
        marked = NOT_RUN.fullmatch(info)
        saved = SAVED.search(text[: match.start()])
        found.append(
            Block(
                page=page,
                line=text.count("\n", 0, match.start()) + 1,
                language=marked["language"] if marked else info,
                body=match["body"],
                saved=saved["name"] if saved else None,
                reason=marked["reason"] if marked else None,
            )
        )
    return found
