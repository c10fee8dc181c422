from collections.abc import Iterator

import pytest

from browser import Page, browser, find_chromium


@pytest.fixture(scope="session")
def chromium() -> Iterator[Page]:
    """The page of a browser that all tests of this folder share; its size is 1280 x 900."""
    if find_chromium() is None:
        pytest.skip("there is no Chromium here")
    with browser() as page:
        page.resize(1280, 900)
        yield page
