"""The site: it builds, every public name has its page, links lead somewhere, and a browser shows it as it should be."""

from __future__ import annotations

import functools
import http.server
import inspect
import json
import subprocess
import sys
import threading
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pytest

import scdart

if TYPE_CHECKING:
    from collections.abc import Iterator

    from selenium.webdriver import Chrome

DOCS = Path(__file__).resolve().parents[1] / "docs"

pytestmark = pytest.mark.site


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    """Build the site once; warnings are errors."""
    pytest.importorskip("sphinx", reason='needs the extra: pip install -e ".[docs]"')
    out = tmp_path_factory.mktemp("site")
    options = ["--fail-on-warning", "--keep-going", "--quiet", "-d", str(tmp_path_factory.mktemp("doctrees"))]
    built = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "sphinx", *options, str(DOCS), str(out)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr[-5000:]
    return out


class Page(HTMLParser):
    """Addresses that a page refers to, and the places that it can be referred to by."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.addresses: set[str] = set()
        self.ids: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.addresses.add(value)
            if name == "id" and value:
                self.ids.add(value)


@pytest.fixture(scope="session")
def pages(site) -> dict[Path, Page]:
    return {path: Page(path) for path in site.rglob("*.html") if "_static" not in path.parts}


def public_names() -> set[str]:
    return {f"scdart.{package}.{name}" for package in scdart.__all__ for name in getattr(scdart, package).__all__}


def test_every_public_name_has_its_page_and_no_other_name_has(site, pages):
    listed = {path.stem for path in (site / "api" / "generated").glob("scdart.*.*.html")}
    assert listed == public_names()
    assert [name for name in listed if name not in pages[site / "api" / "generated" / f"{name}.html"].ids] == []


def test_methods_of_the_model_are_documented(site, pages):
    model = scdart.model.SCDART
    own = [
        name
        for name, member in inspect.getmembers(model, callable)
        if not name.startswith("_") and member.__module__.startswith("scdart") and "_cls" not in name and member.__doc__
    ]
    ids = pages[site / "api" / "generated" / "scdart.model.SCDART.html"].ids
    assert "get_peak_gene_links" in own
    assert [name for name in [*own, "save", "load"] if f"scdart.model.SCDART.{name}" not in ids] == []


def test_internal_links_lead_somewhere(site, pages):
    broken = []
    for path, page in pages.items():
        for address in page.addresses:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            wrong_place = parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids
            if not target.exists() or wrong_place:
                broken.append(f"{path.relative_to(site)}: {address}")
    assert broken == []


def test_nothing_that_is_shown_comes_from_elsewhere(pages):
    """The site is read behind firewalls too: pictures, scripts and styles are its own."""
    for path, page in pages.items():
        fetched = [
            a for a in page.addresses if a.startswith(("http", "//")) and a.endswith((".js", ".css", ".png", ".svg"))
        ]
        assert fetched == [], path


@pytest.fixture(scope="session")
def address(site) -> Iterator[str]:
    """The site as a server gives it out; search does not work from files."""

    class Silent(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Silent, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture
def window(browser) -> Iterator[Chrome]:
    """The browser at the width of a desk, and without messages of other pages."""
    browser.set_window_size(1200, 1000)
    browser.get_log("browser")
    browser.get_log("performance")
    yield browser
    browser.get("about:blank")


def wait_for(browser: Chrome, script: str, seconds: float = 30) -> object:
    end = time.monotonic() + seconds
    while not (found := browser.execute_script(f"return {script}")) and time.monotonic() < end:
        time.sleep(0.1)
    return found


SHOWN = [
    "index.html",
    "installation.html",
    "tutorials/index.html",
    "tutorials/01_quickstart.html",
    "tutorials/05_anchors_and_confidence.html",
    "how_to/anchors.html",
    "gallery.html",
    "benchmarks/index.html",
    "user_guide/scdart.html",
    "developer/architecture.html",
    "api/index.html",
    "api/generated/scdart.model.SCDART.html",
    "api/generated/scdart.tl.pseudotime.html",
]


@pytest.mark.browser
@pytest.mark.parametrize("page", SHOWN)
def test_page_is_shown_whole(window, address, page):
    window.get(f"{address}/{page}")
    window.execute_script("document.querySelectorAll('img').forEach(image => { image.loading = 'eager' })")
    assert wait_for(window, "document.readyState === 'complete' && [...document.images].every(image => image.complete)")
    missing = "return [...document.images].filter(image => image.naturalWidth === 0).map(image => image.src)"
    assert window.execute_script(missing) == []
    formulas = "document.querySelectorAll('span.math, div.math').length"
    if window.execute_script(f"return {formulas}"):
        assert wait_for(window, f"document.querySelectorAll('mjx-container').length >= {formulas}")
        assert window.execute_script("return document.querySelectorAll('mjx-merror, merror').length") == 0
    assert [entry for entry in window.get_log("browser") if entry["level"] == "SEVERE"] == []
    messages = [json.loads(entry["message"])["message"] for entry in window.get_log("performance")]
    urls = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert [url for url in urls if not url.startswith((address, "data:", "blob:", "about:"))] == []


@pytest.mark.browser
def test_search_finds_the_model(window, address):
    window.get(f"{address}/search.html?q=SCDART")
    wait_for(window, "document.querySelectorAll('#search-results li a').length > 0")
    first = window.execute_script("return document.querySelector('#search-results li a').href")
    assert first.partition("#")[0] == f"{address}/api/generated/scdart.model.SCDART.html"


@pytest.fixture
def telephone(window) -> Iterator[Chrome]:
    """The browser as narrow as a telephone."""
    window.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    )
    yield window
    window.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


#: What a page needs; wider than the screen where something sticks out that cannot be scrolled by itself.
WIDTH = "return document.documentElement.scrollWidth"


@pytest.mark.browser
@pytest.mark.parametrize("page", SHOWN)
def test_narrow_screen_is_usable(telephone, address, page):
    """Formulas fit once they are drawn, text can be read, and the way to other pages is there."""
    telephone.get(f"{address}/{page}")
    wait_for(telephone, "document.readyState === 'complete'")
    if telephone.execute_script("return document.querySelectorAll('span.math, div.math').length"):
        wait_for(telephone, "document.querySelectorAll('mjx-container').length > 0")
    assert telephone.execute_script(WIDTH) <= 391
    size = "return parseFloat(getComputedStyle(document.querySelector('article p')).fontSize)"
    assert telephone.execute_script(size) >= 14
    assert telephone.find_element("css selector", "label.primary-toggle, button.primary-toggle").is_displayed()


@pytest.mark.browser
def test_no_page_is_wider_than_a_telephone(telephone, site, address, pages):
    """The longest name of the reference breaks as well as the widest table scrolls."""
    widths = {}
    for page in sorted(str(path.relative_to(site)) for path in pages if "_modules" not in path.parts):
        telephone.get(f"{address}/{page}")
        widths[page] = telephone.execute_script(WIDTH)
    assert {page: width for page, width in widths.items() if width > 391} == {}


#: Formulas and lines of code that their column cuts off.
CUT_OFF = """
return [...document.querySelectorAll('article pre, article mjx-container[display]')].filter(element => {
    const shown = element.firstElementChild ?? element;
    const width = Math.max(element.scrollWidth, shown.getBoundingClientRect().width);
    return width > element.clientWidth + 2 || width > element.parentElement.clientWidth + 2;
}).map(element => element.textContent.slice(0, 60));
"""


@pytest.mark.browser
@pytest.mark.parametrize("page", ["index.html", "gallery.html", "user_guide/scdart.html", "how_to/fragments.html"])
def test_code_and_formulas_fit_their_column(window, address, page):
    window.set_window_size(1280, 1000)
    window.get(f"{address}/{page}")
    wait_for(window, "document.readyState === 'complete'")
    formulas = window.execute_script("return document.querySelectorAll('div.math').length")
    assert wait_for(window, f"document.querySelectorAll('mjx-container[display]').length >= {formulas}")
    assert window.execute_script(CUT_OFF) == []


def test_gallery_is_what_its_page_draws(tmp_path):
    pytest.importorskip("PIL")
    code = f"import gallery, pathlib; gallery.draw(pathlib.Path({str(tmp_path)!r}), max_epochs=10)"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=DOCS, check=True, capture_output=True)
    drawn = {path.name for path in (tmp_path / "gallery").iterdir()}
    assert drawn == {path.name for path in (DOCS / "_static" / "gallery").iterdir()}
