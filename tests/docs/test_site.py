"""The documentation as a site: it builds without a warning and asks nobody else for anything."""

import re
import subprocess
import sys

import pytest
from doc_blocks import ROOT

LOADED = re.compile(r"<(?:link|script|img|iframe)\b[^>]*\b(?:href|src)=\"?((?:https?:)?//[^\"\s>]+)", re.IGNORECASE)
STYLED = re.compile(r"url\(\s*['\"]?((?:https?:)?//[^)'\"]+)|@import\s+['\"]?((?:https?:)?//[^'\"]+)")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_is_in_the_site(site):
    """Every page of docs/ became one."""
    for page in (ROOT / "docs").rglob("*.md"):
        path = page.relative_to(ROOT / "docs").with_suffix("")
        assert (site / ("index.html" if path.name == "index" else f"{path}/index.html")).is_file(), path


def test_the_site_is_whole(site):
    """Nothing is loaded from elsewhere: no fonts, scripts or styles of other hosts."""
    for page in site.rglob("*.html"):
        found = [url for url in LOADED.findall(page.read_text()) if not url.startswith("https://flowrunner.readthedocs.io")]
        assert not found, f"{page}: {found}"
    for style in site.rglob("*.css"):
        assert not STYLED.search(style.read_text()), style


def test_every_fence_became_code(site):
    """No fence shows as text."""
    for page in site.rglob("*.html"):
        assert "```" not in page.read_text(), page
