"""Report pages in a real browser: moved, clicked, typed at, and looked at pixel by pixel."""

import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from conftest import picture
from made_up import PLAN, noisy, pictures, psnr, results, run_page, study_page
from multiblock.page import rendering, viewer
from multiblock.page.live import UnderWay, live_page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; on Debian: apt-get install chromium")

PATIENCE = 60_000
"""Milliseconds for a page on a machine that has much else to do."""


@pytest.fixture(scope="module")
def browser() -> Iterator:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=PATIENCE)
        yield opened
        opened.close()


@pytest.fixture
def look(browser) -> Iterator:
    """Opens a page; at the end nothing was asked for and nothing was complained of."""
    complaints, requests, contexts = [], [], []

    def opened(file: Path, width: int = 1400):
        context = browser.new_context(viewport={"width": width, "height": 900}, has_touch=width < 600)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(file.as_uri())
        page.wait_for_selector("html[data-ready=yes]", state="attached")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    return run_page(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    return study_page(tmp_path_factory.mktemp("study"))


def pixel(page, x: float, y: float, canvas: int = 0) -> list[int]:
    """RGB of the canvas at a point of it, in CSS pixels."""
    reads = """(canvas, [x, y]) => {
      const copy = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
      copy.drawImage(canvas, -x, -y);
      return [...copy.getImageData(0, 0, 1, 1).data].slice(0, 3);
    }"""
    return page.locator("canvas.picture").nth(canvas).evaluate(reads, [x, y])


def whole(page, canvas: int = 0) -> bytes:
    """All that a canvas shows."""
    return page.locator("canvas.picture").nth(canvas).evaluate("canvas => canvas.toDataURL()").encode()


def settled(page) -> None:
    """Until what was asked for is drawn."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def seen(page) -> dict:
    """The part of the image that is seen, as the page says it, and where a CSS pixel of the canvas is in the image."""
    settled(page)
    text = page.locator(".status").first.inner_text()
    width, height, x, y = map(int, re.match(r"Seen: (\d+) × (\d+) pixels at \((\d+), (\d+)\)", text).groups())
    return {"x": x, "y": y, "width": width, "height": height, "text": text}


def image_point(page, x: float, y: float) -> tuple[int, int]:
    """The image pixel under a point of the canvas."""
    at = page.evaluate("([x, y]) => document.getElementById('viewer').viewer.view.at({x, y})", [x, y])
    return int(at["x"]), int(at["y"])


def shows(page, picture: np.ndarray, x: int = 100, y: int = 200) -> bool:
    """Whether the canvas has a picture's colour at a point."""
    column, row = image_point(page, x + 0.5, y + 0.5)
    return pixel(page, x, y) == picture[row, column].tolist()


def press(page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)
        settled(page)


def focused(look, file: Path, mode: str = ""):
    """A page whose viewer has the focus, in a mode."""
    page = look(file)
    if mode:
        page.get_by_text(mode, exact=True).click()
    page.locator("canvas.picture").first.focus()
    return page


def to_divider(page, value: int) -> None:
    page.locator("input.divide").evaluate(
        "(range, value) => { range.value = value; range.dispatchEvent(new Event('input')); }", value
    )
    settled(page)


# -- Viewer ------------------------------------------------------------------------------------------------------------


def test_the_slider_parts_before_and_after(look, report):
    page = look(report)
    before, *_, after, _target = pictures(96, 128, 0)
    for value, expected in ((200, before), (0, after)):
        to_divider(page, value)
        assert all(shows(page, expected, x) for x in (100, 400, 700, 1000))
    to_divider(page, 100)
    width = page.locator("canvas.picture").first.bounding_box()["width"]
    assert shows(page, before, width / 2 - 30) and shows(page, after, width / 2 + 30)


def test_the_divider_can_be_dragged_and_moved_by_keys(look, report):
    page = look(report)
    page.locator(".stage").scroll_into_view_if_needed()
    box = page.locator("canvas.picture").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 60, steps=4)
    page.mouse.up()
    settled(page)
    assert abs(int(page.locator("input.divide").input_value()) - 50) <= 1
    page.locator("input.divide").focus()
    press(page, "ArrowRight")
    assert abs(int(page.locator("input.divide").input_value()) - 51) <= 1


def test_keys_flip_pictures_in_place(look, report):
    page, shown = focused(look, report, "One picture"), pictures(96, 128, 0)
    for key, number in (("1", 0), ("3", 2), ("4", 3), ("2", 1), ("0", 4), ("9", 4)):  # there is no ninth picture
        press(page, key)
        assert shows(page, shown[number], 300), key
    assert page.get_by_label("picture B").input_value() == "4"


def test_keys_do_nothing_away_from_the_viewer(look, report):
    page = look(report)
    page.mouse.move(5, 5)
    page.evaluate("document.activeElement.blur()")
    before = whole(page)
    press(page, "2")
    assert whole(page) == before
    page.locator("canvas.picture").first.hover()
    press(page, "2")
    assert whole(page) != before


def test_swap_errors_and_images_by_key(look, report):
    page = focused(look, report)
    before, *_, after, target = pictures(96, 128, 0)
    press(page, "x")
    assert shows(page, after)
    press(page, "x", "e")
    assert shows(page, np.minimum(8 * np.abs(before.astype(int) - target), 255))
    press(page, "e", "]")
    page.wait_for_function("document.getElementById('viewer').viewer.cut.name === 'image1'")
    settled(page)
    assert shows(page, pictures(96, 128, 1)[0])


def test_zoom_and_pan_are_synchronised(look, report):
    page = look(report)
    page.get_by_text("Side by side", exact=True).click()
    page.get_by_label("picture A").select_option(index=2)
    page.get_by_label("picture B").select_option(index=2)
    start = seen(page)
    assert whole(page, 0) == whole(page, 1)
    first, second = page.locator("canvas.picture").all()
    first.click()
    page.mouse.wheel(0, -400)
    closer = seen(page)
    assert closer["width"] < start["width"] and whole(page, 0) == whole(page, 1)
    box = second.bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 120, box["y"] + 150, steps=3)
    page.mouse.up()
    moved = seen(page)
    assert (moved["x"], moved["y"]) > (closer["x"], closer["y"]) and abs(moved["width"] - closer["width"]) <= 1
    assert whole(page, 0) == whole(page, 1)
    first.focus()
    press(page, "ArrowLeft")
    assert seen(page)["x"] < moved["x"]
    page.get_by_label("picture B").select_option(index=0)
    settled(page)
    assert whole(page, 0) != whole(page, 1)


def test_zoom_goes_down_to_single_pixels(look, report):
    page = focused(look, report, "One picture")
    press(page, *20 * ["+"])
    part = seen(page)
    width = page.locator("canvas.picture").first.bounding_box()["width"]
    assert part["width"] <= width / 64 + 2
    shown = pictures(96, 128, 0)[3]
    row = [pixel(page, x, 100) for x in range(0, 256, 4)]
    assert row == [shown[image_point(page, x + 0.5, 100.5)[::-1]].tolist() for x in range(0, 256, 4)]
    assert len({tuple(value) for value in row}) <= 5  # no colours between
    press(page, "f")
    assert (seen(page)["width"], seen(page)["height"]) == (128, 96)


def test_psnr_of_what_is_seen_is_right(look, report):
    page, shown = focused(look, report), pictures(96, 128, 0)
    for key in ("g", "l", "f"):
        press(page, key)
        part = seen(page)
        crop = (slice(part["y"], part["y"] + part["height"]), slice(part["x"], part["x"] + part["width"]))
        values = [psnr(one[crop], shown[4][crop]) for one in shown[:4]]
        rows = page.locator("table.pictures tbody tr").all()
        for row, value in zip(rows[:4], values, strict=True):
            assert row.locator("td").nth(2).inner_text() == f"{value:.2f} dB"
        assert f"A {values[0]:.2f} dB, B {values[3]:.2f} dB" in part["text"]
    assert seen(page)["width"] == 128


def test_gain_and_loss_are_shown_by_a_click(look, report):
    page = look(report)
    assert "B − A +" in seen(page)["text"]  # the largest gain is what is seen at first
    page.get_by_role("button", name=re.compile("largest loss −")).click()
    part = seen(page)
    assert "B − A −" in part["text"] and part["x"] > 50 and part["y"] > 30
    page.get_by_role("button", name=re.compile(r"largest gain \+")).click()
    assert "B − A +" in seen(page)["text"]


def test_two_fingers_zoom_and_one_moves(look, report):
    page = look(report, width=390)
    start = seen(page)
    touch = """(canvas, [kind, id, x, y]) => {
      const box = canvas.getBoundingClientRect();
      canvas.setPointerCapture = () => {};
      const at = {clientX: box.left + x, clientY: box.top + y};
      canvas.dispatchEvent(new PointerEvent(kind, {pointerId: id, pointerType: "touch", bubbles: true, ...at}));
    }"""
    canvas = page.locator("canvas.picture").first
    for step in (("down", 1, 60, 100), ("down", 2, 90, 100), ("move", 1, 20, 100), ("move", 2, 330, 100)):
        canvas.evaluate(touch, [f"pointer{step[0]}", *step[1:]])
    closer = seen(page)
    assert closer["width"] < start["width"] / 2
    canvas.evaluate(touch, ["pointerup", 2, 330, 100])
    canvas.evaluate(touch, ["pointermove", 1, 120, 100])
    assert seen(page)["x"] < closer["x"]


def test_what_a_browser_changes_is_not_measured(look, report, tmp_path):
    text = report.read_text()
    changed = tmp_path / "page.html"
    changed.write_text(re.sub(r'"sum":(\d)', r'"sum":9\1', text))
    page = look(changed)
    settled(page)
    assert "no PSNR of them is given" in page.locator(".status").first.inner_text()


def test_before_and_after_without_a_target(look, tmp_path):
    sharp = picture(60, 80)
    viewer.page("before and after", [("one", [("input", sharp), ("result", noisy(sharp, 9, 1))])], tmp_path / "c.html")
    page = focused(look, tmp_path / "c.html")
    assert "dB" not in page.locator("main").inner_text()
    assert page.get_by_role("button", name="largest change").is_visible()
    press(page, "f")
    assert shows(page, sharp, 500)


def test_names_run_no_code(look, tmp_path):
    nasty = "</script><script>document.title='bad'</script><img src=x onerror=\"document.title='bad'\">"
    shown = [(nasty, [(nasty, picture(20, 20)), ("after", picture(20, 20, seed=1))])]
    viewer.page("good", shown, tmp_path / "c.html")
    page = look(tmp_path / "c.html")
    settled(page)
    assert page.title() == "good" and page.get_by_label("image", exact=True).inner_text().strip() == nasty


# -- Charts ------------------------------------------------------------------------------------------------------------


def test_charts_tell_of_points_under_the_pointer_and_by_keys(look, report):
    page = look(report)
    chart = page.locator("[data-chart=learning-data-1]")
    plot, tip = chart.locator("svg"), chart.locator(".tip-box")
    assert tip.is_hidden()
    plot.scroll_into_view_if_needed()
    dot = chart.locator("svg circle:not(.dot)").first.bounding_box()
    page.mouse.move(dot["x"] + 2, dot["y"] + 2)
    assert tip.inner_text().split("\n")[:2] == ["phase 1", "21.333 dB"]
    page.mouse.move(2, 2)
    plot.focus()
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    assert "21.667 dB" in tip.inner_text() and "seed 1, iteration 20" in tip.inner_text()
    page.keyboard.press("Escape")
    assert tip.is_hidden()


def test_no_word_of_a_chart_lies_on_another(look, tmp_path):
    """Nor on a curve, of the names of phases; below no network its name is at the top too."""
    made = results(tmp_path)
    for of in made["phases"].values():
        of.training.write_text(json.dumps(of.record() | {"psnr_rgb_validation_input": 30.0}))
    file = run_page(tmp_path, made)
    plots = [plot for width in (390, 1400) for plot in look(file, width).locator(".plot svg").all()]
    assert len(plots) == 2 * 4
    for plot in plots:
        texts = [(text.text_content(), text.bounding_box()) for text in plot.locator("text").all() if text.is_visible()]
        on = [(a, b) for n, (a, one) in enumerate(texts) for b, other in texts[:n] if _shared(one, other)]
        assert on == []
        dots = [dot.bounding_box() for dot in plot.locator("circle:not(.dot)").all()]
        assert not [name for name, box in texts if name.startswith("phase") for dot in dots if _shared(box, dot)]


def _shared(one: dict, other: dict) -> bool:
    """Whether two boxes lie on one another by more than the room above and below letters."""
    across = min(one["x"] + one["width"], other["x"] + other["width"]) - max(one["x"], other["x"])
    down = min(one["y"] + one["height"], other["y"] + other["height"]) - max(one["y"], other["y"])
    return across > 0 and down > 4


def test_charts_change_their_axis_and_hide_series(look, study):
    page = look(study)
    chart = page.locator("[data-chart=compute-data]")
    assert "block-pixels of training" in chart.inner_text()
    chart.get_by_text("seconds").first.click()
    assert "seconds of training iterations" in chart.inner_text()
    curves = chart.locator("path.curve")
    count = curves.count()
    chart.get_by_role("button", name="other").click()
    assert curves.count() == count // 2


# -- The whole page ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [390, 1400])
def test_pages_fit_phones_and_screens_by_day_and_by_night(look, report, study, width):
    for file in (report, study, report.with_name("report_small.html")):
        page = look(file, width)
        page.get_by_text("Side by side", exact=True).click()
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            settled(page)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, file.name
            first, second = (canvas.bounding_box() for canvas in page.locator("canvas.picture").all())
            stacked = second["y"] >= first["y"] + first["height"]
            assert stacked == (width == 390)
            paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (sum(map(int, re.findall(r"\d+", paper))) > 380) == (scheme == "light")
        assert len(page.screenshot()) > 10_000


def test_all_controls_have_names_and_can_be_reached_by_tab(look, report):
    page = look(report)
    nameless = """() => [...document.querySelectorAll("main :is(button, select, input, canvas, [tabindex])")]
      .filter(e => e.checkVisibility() && !(e.getAttribute("aria-label") || e.labels?.length || e.textContent.trim()))
      .map(e => e.outerHTML)"""
    assert page.evaluate(nameless) == []
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.tagName + '.' + document.activeElement.className"))
    assert {"SELECT.", "CANVAS.picture", "INPUT.divide", "BUTTON.", "svg.[object SVGAnimatedString]"} <= reached


def test_an_error_map_opens_its_image(look, report):
    page = look(report)
    page.get_by_role("button", name="open in the viewer").nth(1).click()
    page.wait_for_function("document.getElementById('viewer').viewer.cut.name === 'image1'")


def test_help_is_a_key_away(look, report):
    page = focused(look, report)
    press(page, "?")
    assert page.get_by_role("dialog").is_visible()
    press(page, "Escape")
    assert page.get_by_role("dialog").is_hidden()


@pytest.mark.slow  # five large images
def test_a_run_with_five_large_images_is_one_quick_page(look, tmp_path):
    out = run_page(tmp_path, count=5, size=(600, 840))
    small = out.with_name("report_small.html")
    assert out.stat().st_size < rendering.LIMIT and small.stat().st_size < rendering.SMALL
    begin = time.monotonic()
    look(out)
    assert time.monotonic() - begin < 15  # 1 s on a machine that has nothing else to do
    look(small)


def test_the_page_of_what_is_under_way_reads_itself_anew_and_keeps_its_place(look, tmp_path):
    def write(last: float, renews: int) -> None:
        looks = [(5, 29.5), (10, last)]
        rows = "".join(f"{at},1,0.001,0.5,{psnr},1\n" for at, psnr in looks)
        (tmp_path / "history.csv").write_text("iteration,stage,lr,loss,psnr_rgb_validation,gradient_norm\n" + rows)
        phases = {run: {(1, 1): UnderWay(history=tmp_path / "history.csv", task=task, level=29.0)} for run in "ab"}
        now = {("a", seed): "phase 1" for seed in range(30)}
        how = {"study": "demo", "level": 29.0, "sentence": "0 of 2", "links": []}
        (tmp_path / "live.html").write_text(live_page(phases=phases, now=now, renews=renews, **how))

    task = PLAN.task(1, 1)
    write(30.0, 1)
    page = look(tmp_path / "live.html", 390)
    page.click("button.series >> text=b")
    page.evaluate("window.scrollTo(0, 300)")
    write(31.0, 600)
    page.wait_for_selector("html[data-ready=yes] #written[data-renews='600']", state="attached")
    assert page.evaluate("window.scrollY") == 300
    assert page.locator("button.series").evaluate_all("all => all.map((one) => one.ariaPressed)") == ["true", "false"]
    assert page.evaluate("document.querySelectorAll('.curve').length") == 1
    assert page.evaluate("document.documentElement.scrollWidth") == 390
