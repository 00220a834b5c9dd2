"""What README.md and docs/ show is what happens: every code block runs, and its shown output is compared."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from doc_blocks import LANGUAGES, PAGES, ROOT, blocks, name_of
from doc_session import Session

WITH_BLOCKS = [page for page in PAGES if blocks(page)]
MOST_NOT_RUN = 6
AT_ONCE = 3  # pages wait for processes more than they compute


def go_through(page, folder):
    session = Session(folder)
    try:
        for block in blocks(page):
            if block.reason is None:
                session.run(block)
        session.stop()
    finally:
        session.kill()


@pytest.fixture(scope="module")
def sessions(request, tmp_path_factory):
    """The selected pages, gone through a few at a time."""
    chosen = {item.callspec.params["page"] for item in request.session.items if getattr(item, "originalname", "") == "test_the_blocks_of_a_page_run"}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {page: pool.submit(go_through, page, tmp_path_factory.mktemp(page.stem)) for page in WITH_BLOCKS if page in chosen}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("page", WITH_BLOCKS, ids=name_of)
def test_the_blocks_of_a_page_run(page, sessions):
    """A reader who does what the page says, in an empty folder, sees what the page says."""
    sessions[page].result()


@pytest.mark.parametrize("page", WITH_BLOCKS, ids=name_of)
def test_every_block_says_what_it_is(page):
    """A block is of a language that is run or checked, or says why it is not."""
    for block in blocks(page):
        assert block.reason is not None or block.language in LANGUAGES, block.place


def test_few_blocks_do_not_run():
    """Not running is the exception."""
    assert sum(block.reason is not None for page in PAGES for block in blocks(page)) <= MOST_NOT_RUN


def test_no_fence_is_left_open():
    """Every fence opens and closes a block that was found."""
    for page in PAGES:
        fences = len(re.findall(r"^`{3,}", page.read_text(), re.MULTILINE))
        assert fences == 2 * len(blocks(page)), name_of(page)


def test_the_readme_names_nothing_of_our_workshop():
    """A newcomer's page names no machine, tracker, build service or registry."""
    text = (ROOT / "README.md").read_text()
    assert not re.search(r"(?i)\bissues?\b|\bCI\b|pypi|github|gitlab|/home/|/root|/tmp|pythonhosted", text)
    assert all(host in ("127.0.0.1", "localhost") for host in re.findall(r"https?://([^/:\s`\"')]+)", text))


def test_the_readme_names_targets_that_exist():
    """`make` commands of the documentation exist."""
    makefile = (ROOT / "Makefile").read_text()
    for page in PAGES:
        for target in re.findall(r"(?m)(?:^|`)make ([a-z][a-z-]*)", page.read_text()):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{name_of(page)}: make {target}"


def test_links_between_pages_hold():
    """A relative link names a file that is there (mkdocs looks at docs/, this also at README.md)."""
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{name_of(page)}: {target}"
