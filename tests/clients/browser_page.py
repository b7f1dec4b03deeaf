"""The page at `/` in headless Chromium that may ask nobody but the server.

Skipped where no Chromium or no playwright is. With ISOGLOSS_SHOTS=FOLDER, each flow leaves a
picture there, of a desk's and of a phone's width, light and dark.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

api = pytest.importorskip("playwright.sync_api")
BROWSER = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")

LOOKS = [(scheme, width) for scheme in ("light", "dark") for width in (1200, 380)]
SWAHILI = "Watalii hukaa katika hoteli karibu na ufuo."
LINES = [
    "The match ended in a draw.",
    "Le médecin a soigné le patient.",
    "Iqembu lebhola liwinile.",
]
TOKEN = os.environ.get("ISOGLOSS_ADMIN_TOKEN", "")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu", *quiet]
        )
        yield opened
        opened.close()


class Visit:
    """A page that is open, and what it did besides being looked at."""

    def __init__(self, browser: Any, url: str, look: tuple[str, int], *, bypass: bool = False):
        self.url, self.look = f"{url}/", look
        scheme, width = look
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=bypass
        )
        self.context.route("**/*", self._only_the_server)
        self.page = self.context.new_page()
        self.problems: list[str] = []
        self.elsewhere: list[str] = []
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))

    def _said(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(message.text)

    def _only_the_server(self, route: Any) -> None:
        if route.request.url.startswith((self.url, "blob:", "data:")):
            route.continue_()
        else:
            self.elsewhere.append(route.request.url)
            route.abort()

    def open(self, section: str = "text") -> Any:
        self.page.goto(f"{self.url}#{section}")
        self.page.locator("#serving", has_text="generation").wait_for()
        return self.page

    def picture(self, name: str) -> None:
        if folder := os.environ.get("ISOGLOSS_SHOTS"):
            scheme, width = self.look
            path = Path(folder) / f"{name}-{scheme}-{width}.png"
            self.page.screenshot(path=path, full_page=True)

    def fits(self) -> bool:
        """Whether nothing sticks out at the side."""
        body = self.page.locator("html")
        return bool(body.evaluate("(root) => root.scrollWidth <= root.clientWidth"))


@pytest.fixture(params=LOOKS, ids=lambda look: f"{look[0]}-{look[1]}")
def visit(browser: Any, url: str, request: Any) -> Iterator[Visit]:
    visited = Visit(browser, url, request.param)
    yield visited
    assert visited.fits()
    assert not visited.problems, visited.problems
    assert not visited.elsewhere, visited.elsewhere
    visited.context.close()


def test_a_text_is_read_as_it_is_typed(visit: Visit) -> None:
    page = visit.open()
    page.locator("#text-input").press_sequentially(SWAHILI, delay=2)
    page.locator("#text-language-said", has_text="Swahili").wait_for()
    assert page.locator("#text-scores li").first.inner_text().startswith("travel")
    assert page.locator("#text-path li").first.inner_text() == "Atlantic-Congo"
    page.locator("#text-others summary").click()
    page.locator("#text-others-rows tr.answered").wait_for()
    assert page.locator("#text-others-rows tr").count() > 5
    visit.picture("text")
    page.locator("#text-language").select_option("fra_Latn")
    page.locator("#text-language-said", has_text="as you said").wait_for()
    page.locator("#text-input").fill("")
    page.locator("#text-answer").wait_for(state="hidden")


def test_a_clade_that_decided_is_marked(visit: Visit) -> None:
    page = visit.open()
    page.locator("#text-input").fill("日本のサッカーチームが試合に勝ちました。")
    page.locator("#text-path li.decided", has_text="Japonic").wait_for()
    assert "it is the prompt of Japonic" in page.locator("#text-why").inner_text()


def test_a_column_of_a_csv_is_classified_and_saved(visit: Visit, tmp_path: Path) -> None:
    page = visit.open("texts")
    rows = "".join(f'{n},"{line}"\r\n' for n, line in enumerate(LINES))
    (tmp_path / "in.csv").write_text(f"id,message\r\n{rows}", encoding="utf-8")
    page.locator("#texts-file").set_input_files(tmp_path / "in.csv")
    page.locator("#texts-columns").wait_for()
    assert page.locator("#texts-column").input_value() == "1"
    assert page.locator("#texts-input").input_value().splitlines() == LINES
    page.locator("#texts-ask").click()
    page.locator("#texts-progress", has_text="3 of 3").wait_for()
    visit.picture("texts")
    with page.expect_download() as saving:
        page.locator("#texts-save").click()
    saved = Path(saving.value.path()).read_text(encoding="utf-8-sig").splitlines()
    assert saved[0] == "text,label,score,language,confidence,clade,prompt"
    assert [line.split(",")[0] for line in saved[1:]] == LINES


def test_routes_are_a_tree_with_their_evidence(visit: Visit) -> None:
    page = visit.open("routes")
    page.locator("#routes-tree .node").first.wait_for()
    routed = page.locator("#routes-tree .node:not(.left)").count()
    assert routed > 5
    assert page.locator("#routes-tree svg.forest").count() == routed
    visit.picture("routes")
    page.locator("#routes-all").check()
    assert page.locator("#routes-tree .node").count() > 2 * routed


def test_prompts_are_listed_and_changed_with_the_token_alone(visit: Visit, url: str) -> None:
    page = visit.open("prompts")
    page.locator("#prompts-rows tr").first.wait_for()
    name = page.locator("#prompts-rows a").first.inner_text()
    visit.picture("prompts")
    page.locator("#rollback button").click()
    page.locator("#prompts-problem", has_text="admin token").wait_for()
    visit.problems.clear()  # the browser reports a 401 by itself
    page.locator("#token").fill(TOKEN)
    file = page.request.get(f"{url}/v1/prompts/{name}/file").body()
    chosen = {"name": "Tried.safetensors", "mimeType": "application/octet-stream", "buffer": file}
    page.locator("#publish-file").set_input_files(chosen)
    assert page.locator("#publish-name").input_value() == "tried"
    page.locator("#publish button").click()
    page.locator("#prompts-done", has_text="tried is published").wait_for()
    page.locator("#prompts-rows a", has_text="tried").wait_for()
    page.locator("#rollback button").click()
    page.locator("#prompts-done", has_text="the generation before is back").wait_for()
    page.locator("#publish-file").set_input_files(chosen)
    page.locator("#publish-as").select_option("shadow")
    page.locator("#publish-routes").fill("universal")
    page.locator("#publish button").click()
    page.locator("#prompts-trials strong", has_text="tried").wait_for()
    visit.picture("trial")
    page.locator("#prompts-trials button", has_text="End").click()
    page.locator("#prompts-done", has_text="the trial of tried has ended").wait_for()
    kept = page.locator("html").evaluate(
        "() => [document.cookie, localStorage.length, sessionStorage.length]"
    )
    assert kept == ["", 0, 0]


def test_it_works_with_the_keyboard_alone(browser: Any, url: str) -> None:
    visited = Visit(browser, url, ("light", 1200))
    page = visited.page
    page.goto(visited.url)
    page.locator("#serving", has_text="generation").wait_for()
    for name in ("Skip to the content", "One text", "Many texts", "Routes"):
        page.keyboard.press("Tab")
        assert page.locator(":focus").inner_text() == name
    page.keyboard.press("Enter")
    page.locator("#routes-tree .node").first.wait_for()
    for _ in range(6):
        page.keyboard.press("Tab")
        if page.locator(":focus").get_attribute("id") == "routes-all":
            break
    page.keyboard.press("Space")
    assert page.locator("#routes-all").is_checked()
    visited.context.close()


@pytest.mark.parametrize("section", ["text", "texts", "routes", "prompts"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nobody_is_shut_out(browser: Any, url: str, section: str, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    visited = Visit(browser, url, (scheme, 1200), bypass=True)
    page = visited.open(section)
    if section == "text":
        page.locator("#text-input").fill(SWAHILI)
        page.locator("#text-scores li").first.wait_for()
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    visited.context.close()


@pytest.mark.parametrize("path", ["docs", "redoc"])
def test_the_apis_pages_need_no_other_server(browser: Any, url: str, path: str) -> None:
    visited = Visit(browser, url, ("light", 1200))
    visited.page.goto(f"{visited.url}{path}")
    visited.page.get_by_text("Classify texts").first.wait_for()
    assert not visited.elsewhere, visited.elsewhere
    visited.context.close()
