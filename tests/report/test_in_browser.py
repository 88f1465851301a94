"""The page in headless Chromium: it draws, fits, answers, and asks the network for nothing."""

from __future__ import annotations

import html
import itertools
import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from end_to_end import ROOT

from pipeline.report import against, floor_plan, page, story
from pipeline.report.part import Part
from pipeline.report.revision import Revision
from pipeline.report.sources import Target

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="no chromium with chromedriver here"),
]
WIDE, NARROW = 1400, 380
TASKS = ("braille", "nmnist")
# The names of the landmarks; a section with a name is one.
LANDMARKS = """
    const text = (id) => document.getElementById(id).textContent.trim();
    return [...document.querySelectorAll('section, nav, [role=region]')].map((e) =>
        e.getAttribute('aria-label') ??
        e.getAttribute('aria-labelledby').split(' ').map(text).join(' '))"""
# Tab stops where there is nothing to scroll.
IDLE = """
    return [...document.querySelectorAll('[tabindex="0"]')].filter((e) => e.offsetHeight &&
        e.scrollWidth <= e.clientWidth && e.scrollHeight <= e.clientHeight
        && !e.closest('svg')).map((e) => e.className)"""
NO_HTML, SHOWN = "<script>alert(1)</script>\u202e\x1b", "<script>alert(1)</script>\\u202e\\x1b"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    # Where tests run as root, in a container, Chromium has no sandbox to go into.
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


def opened(browser: Any, url: str, width: int, theme: str) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = [{"name": "prefers-color-scheme", "value": theme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
    browser.get("about:blank")  # another address of the same page alone would not load it
    browser.get(url)


@pytest.fixture
def load(browser, written) -> Callable[..., Any]:
    """`load(width, theme, address)`: the page, drawn; address: such as `#braille&target=loihi`."""

    def load(width: int = WIDE, theme: str = "light", address: str = "") -> Any:
        opened(browser, written.as_uri() + address, width, theme)
        until(browser, "document.documentElement.dataset.drawn > 0")
        return browser

    return load


def until(browser: Any, condition: str) -> None:
    end = time.monotonic() + 60
    while not browser.execute_script(f"return {condition}"):
        assert time.monotonic() < end, condition
        time.sleep(0.05)


def choose(browser: Any, selector: str, value: str) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.select import Select

    Select(browser.find_element(By.CSS_SELECTOR, selector)).select_by_value(value)


def marks(browser: Any, chart: str) -> int:
    script = "return document.querySelectorAll(`#${arguments[0]} svg [class*=mark-] path`).length"
    return browser.execute_script(script, chart)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_it_draws_everything_without_a_word_and_fits(load, read_page, written, width, theme):
    browser = load(width, theme)
    assert [e for e in browser.get_log("browser") if e["level"] != "INFO"] == []
    charts = read_page(written).charts
    assert charts
    assert {id: marks(browser, id) > 0 for id in charts} == dict.fromkeys(charts, True)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    # No chart is cut off by its place, and none is a stub.
    for id in charts:
        box, svg = browser.execute_script(
            "const b = document.getElementById(arguments[0]);"
            "return [b, b.querySelector('svg')].map((e) => e.getBoundingClientRect().width)",
            id,
        )
        assert 0.8 * box <= svg <= box + 1, id
    paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 27)"}[theme]


def test_it_asks_the_network_for_nothing(load, written):
    browser = load()
    messages = [json.loads(e["message"])["message"] for e in browser.get_log("performance")]
    asked = {
        m["params"]["request"]["url"]
        for m in messages
        if m["method"] == "Network.requestWillBeSent"
    }
    assert {url for url in asked if not url.startswith("data:")} == {written.as_uri()}


def test_the_task_filter_hides_the_other_tasks(load):
    browser = load()
    seen = "['braille', 'nmnist'].map((id) => document.getElementById(id).offsetHeight > 0)"
    choose(browser, "#task-filter", "nmnist")
    assert browser.execute_script(f"return {seen}") == [False, True]
    choose(browser, "#task-filter", "")
    assert browser.execute_script(f"return {seen}") == [True, True]
    until(browser, "document.querySelector('#raster-braille svg').clientWidth > 500")


def test_the_target_filter_hides_the_other_chips(load):
    browser = load()
    shown = (
        "[...document.querySelectorAll('section[data-target]')]"
        ".filter((e) => e.offsetHeight).map((e) => e.dataset.target)"
    )
    everything = browser.execute_script(f"return {shown}")
    assert "loihi" in everything and set(everything) != {"loihi"}
    choose(browser, "#target-filter", "loihi")
    assert set(browser.execute_script(f"return {shown}")) == {"loihi"}


def test_the_address_keeps_the_filters(load, written):
    """It can be sent to somebody: the page opens as it was left, at the section that was read."""
    browser = load()
    choose(browser, "#task-filter", "braille")
    choose(browser, "#target-filter", "loihi")
    assert browser.execute_script("return location.hash") == "#&task=braille&target=loihi"
    browser.execute_script("document.querySelector('#rail a[href=\"#braille-cost\"]').click()")
    until(browser, "location.hash == '#braille-cost&task=braille&target=loihi'")
    address = browser.execute_script("return location.hash")
    browser = load(address=address)
    values = "['task', 'target'].map((kind) => document.getElementById(`${kind}-filter`).value)"
    assert browser.execute_script(f"return {values}") == ["braille", "loihi"]
    seen = (
        "['braille', 'nmnist', 'overview-nmnist', 'braille-target-loihi', 'overview-braille-loihi',"
        "'braille-target-xylo-audio-2', 'overview-braille-xylo-audio-2']"
        ".map((id) => document.getElementById(id).offsetHeight > 0)"
    )
    assert browser.execute_script(f"return {seen}") == [
        True,
        False,
        False,
        True,
        True,
        False,
        False,
    ]
    top = "document.getElementById('braille-cost').getBoundingClientRect().top"
    until(browser, f"0 <= {top} && {top} < 200")
    # What is in no list, and what is no address of this page, chooses nothing.
    browser = load(address="#nowhere&task=none&%")
    assert browser.execute_script(f"return {values}") == ["", ""]


def test_the_head_stays_and_the_rail_marks_what_is_read(load):
    browser = load()
    browser.execute_script("document.getElementById('nmnist-confusion').scrollIntoView()")
    until(browser, "document.querySelector('#rail [aria-current]').hash === '#nmnist-confusion'")
    for element in ("header", "#rail"):
        box = f"document.querySelector('{element}').getBoundingClientRect()"
        assert browser.execute_script(f"return {box}.top < 100 && {box}.bottom > 40"), element
    browser = load(NARROW)
    assert not browser.execute_script("return document.getElementById('rail').offsetHeight")
    browser.execute_script("document.getElementById('rail-button').click()")
    assert browser.execute_script("return document.getElementById('rail').offsetHeight > 100")


def test_a_click_on_the_network_leads_to_the_layers_spikes(load):
    from selenium.webdriver.common.by import By

    browser = load()
    node = browser.find_element(By.CSS_SELECTOR, '#nmnist-network a[data-value="if_10"]')
    browser.execute_script(
        "arguments[0].dispatchEvent(new MouseEvent('click', {bubbles: true}))", node
    )
    until(browser, "location.hash.startsWith('#nmnist-spikes')")
    choice = "document.querySelector('#nmnist-spikes select[data-signal=layer]').value"
    assert browser.execute_script(f"return {choice}") == "if_10"
    node = browser.find_element(By.CSS_SELECTOR, '#nmnist-network a[data-value="conv_2"]')
    assert node.get_attribute("aria-label") == "weights of conv_2"


def test_layer_and_sample_choose_what_is_drawn(load, read_page, written):
    browser = load()
    whole = read_page(written).charts["raster-nmnist"]["data"]["values"]
    for layer, sample in (("if_12", "0"), ("if_12", "3"), ("if_10", "3")):
        choose(browser, "#nmnist-spikes select[data-signal=layer]", layer)
        choose(browser, "#nmnist-spikes select[data-signal=sample]", sample)
        (wanted,) = [r for r in whole if (r["layer"], r["sample"]) == (layer, sample)]
        # Every spike is drawn once for each of the three backends: they agree.
        until(
            browser,
            "document.querySelectorAll('#raster-nmnist .mark-symbol.role-mark path').length"
            f" == {3 * len(wanted['t'])}",
        )


def golden(written, task):
    """The generic bundle's manifest and its vectors."""
    (path,) = (written.parents[1] / "models" / task / "deploy").rglob("generic*/manifest.json")
    manifest = json.loads(path.read_text())
    with np.load(path.parent / manifest["vectors"]["file"]) as stored:
        return manifest, dict(stored)


def counts(browser, within):
    script = (
        "return [...document.querySelectorAll(`${arguments[0]} .count > :last-child`)]"
        ".map((e) => Number(e.textContent))"
    )
    return browser.execute_script(script, within)


def test_a_cell_of_the_confusion_matrix_opens_the_gallery(load, written):
    browser = load()
    manifest, _ = golden(written, "nmnist")
    names, vectors = manifest["classes"], manifest["vectors"]
    answers = list(zip(vectors["labels"], vectors["predicted"], strict=True))
    frames = "document.querySelectorAll('#gallery-nmnist .frames li').length"
    assert browser.execute_script(f"return {frames}") == sum(a != b for a, b in answers)
    # The cell of the first golden vector: as many as the manifest has in it.
    actual, predicted = answers[0]
    place = actual * len(names) + predicted
    cell = f"document.querySelectorAll('#confusion-nmnist .mark-rect.role-mark path')[{place}]"
    browser.execute_script(
        f"const r = {cell}.getBoundingClientRect();"
        f"for (const kind of ['mousemove', 'click']) {cell}.dispatchEvent(new MouseEvent(kind,"
        "{bubbles: true, clientX: r.x + r.width / 2, clientY: r.y + r.height / 2}))"
    )
    until(
        browser,
        "document.querySelector('#gallery-nmnist [data-gallery=cell]').value"
        f" === '{names[actual]}|{names[predicted]}'",
    )
    assert browser.execute_script(f"return {frames}") == answers.count((actual, predicted))
    drawn = (
        "(() => { const c = document.querySelector('#gallery-nmnist canvas');"
        "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height);"
        "return new Set(d.data).size > 3; })()"
    )
    assert browser.execute_script(f"return {drawn}")


def test_the_player_counts_up_to_its_cursor_and_plays(load, written):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    browser = load()
    _, vectors = golden(written, "nmnist")
    output = vectors["output"].astype(int)
    choose(browser, "#player-nmnist [data-player=sample]", "3")
    slider = browser.find_element(By.CSS_SELECTOR, "#player-nmnist [data-player=step]")
    assert counts(browser, "#player-nmnist") == output[:, 3].sum(axis=0).tolist()  # at its end
    slider.send_keys(Keys.HOME, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert slider.get_attribute("value") == "2"
    assert counts(browser, "#player-nmnist") == output[:3, 3].sum(axis=0).tolist()
    assert slider.get_attribute("aria-valuetext").startswith("step 2 of 0 to ")
    button = browser.find_element(By.CSS_SELECTOR, "#player-nmnist [data-player=play]")
    button.send_keys(Keys.SPACE)
    assert button.text == "Pause"
    until(browser, "Number(document.querySelector('#player-nmnist [data-player=step]').value) > 3")
    button.send_keys(Keys.SPACE)
    assert button.text == "Play"
    stopped = slider.get_attribute("value")
    time.sleep(0.6)
    assert slider.get_attribute("value") == stopped


def test_the_floor_plan_is_as_long_as_its_numbers(browser, tmp_path):
    """By hand: half, all, 2.5 times the limit, and two parts; as measured on the screen."""
    times = {"board": "Pico", "mean_us": 500.0, "most_us": 2500.0}
    rows = [
        {"resource": f"Pico: {what}", "used": used, "limit": 64}
        for what, used in (("flash", 48), ("RAM", 64))
    ]
    metrics = {"real_time": {"boards": [times], "step_us": 1000}}
    fit = {"utilisation": rows, "cores": [], "findings": []}
    squares = fit | {"utilisation": [{"resource": "block RAMs", "used": 3, "limit": 8}]}
    squares["findings"] = [
        {"code": "memory", "severity": "note", "layer": "", "number": 3, "limit": None,
         "reason": "sums: 9 words of 16 bits, in 3 block RAMs"}
    ]  # fmt: skip
    blocks = [
        block
        for given, numbers in ((fit, metrics), (squares, None))
        for block in floor_plan.blocks(Target("chip", numbers, given, None, None))
    ]
    text = page.render(
        story=story.Story("", "", [], []), banner="", lines=[], silent="", recordings={},
        sections={"task": [Part("target-chip", "On chip", blocks=blocks)]},
        readers=Part("readers", "Readers"),
    )  # fmt: skip
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    browser.get((tmp_path / "page.html").as_uri())
    until(browser, "document.documentElement.dataset.drawn === '0'")
    found = browser.execute_script("""
        return [...document.querySelectorAll('.use')].map((use) => {
            const bar = use.querySelector('.bar'), whole = bar.getBoundingClientRect().width;
            const filled = [...bar.children].map((part) => part.getBoundingClientRect().width);
            const line = parseFloat(getComputedStyle(bar, '::after').left);
            return [filled.reduce((a, b) => a + b) / whole, line / whole];
        })""")
    # A pixel of some 150 for what is filled and for the line of the limit.
    wanted = [(0.75, 1), (1, 1), (0.5, 1), (1, 0.4)]
    assert found == [pytest.approx(pair, abs=0.01) for pair in wanted]
    coloured = (
        "[...document.querySelectorAll('.squares span')]"
        ".map((e) => getComputedStyle(e).backgroundColor !== 'rgba(0, 0, 0, 0)')"
    )
    assert browser.execute_script(f"return {coloured}") == 3 * [True] + 5 * [False]


def test_tooltips_say_the_numbers(load):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By

    browser = load()
    selector = "#curve-loss-braille .mark-symbol.role-mark path"
    point = browser.find_elements(By.CSS_SELECTOR, selector)[0]
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", point)
    ActionChains(browser).move_to_element(point).perform()
    until(browser, "document.querySelector('#vg-tooltip-element.visible') !== null")
    said = browser.find_element(By.ID, "vg-tooltip-element").text
    assert "train" in said and "1.5" in said  # the first row of conftest.CURVES


def test_it_can_be_used_without_a_mouse_and_read_aloud(load):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    browser = load()
    levels = browser.execute_script(
        "return [...document.querySelectorAll('h1,h2,h3')].map((h) => Number(h.tagName[1]))"
    )
    assert levels.count(1) == 1 and levels[0] == 1
    assert all(b <= a + 1 for a, b in itertools.pairwise(levels))
    nameless = browser.execute_script("""
        return [...document.querySelectorAll('img, .chart, select, canvas, input, button')].filter((e) =>
            !(e.alt || e.ariaLabel || e.closest('label') || e.closest('button')?.textContent)).length""")
    assert nameless == 0
    body = browser.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.TAB)
    assert browser.switch_to.active_element.get_attribute("class") == "skip"
    filter = browser.find_element(By.ID, "task-filter")
    filter.send_keys(Keys.ARROW_DOWN)
    assert filter.get_attribute("value") == "braille"


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_landmarks_have_names_of_their_own_and_tab_stops_a_purpose(load, width):
    """WCAG 2.4.1 and 2.4.3, by what a screen reader lists; a section with a name is a region."""
    browser = load(width)
    names = browser.execute_script(LANDMARKS)
    assert len(names) > 20 and all(names) and len(names) == len(set(names))
    counted = browser.execute_script(
        "return ['main', 'header', 'h1'].map((e) => document.querySelectorAll(e).length)"
    )
    assert counted == [1, 1, 1]
    assert browser.execute_script(IDLE) == []


def test_it_prints_pictures_on_few_pages_and_in_legible_letters(browser, small_project, written):
    """12 pages at most for the tasks that are built here, 6 points for the smallest letters."""
    import base64

    built = all((ROOT / "models" / task / "deploy" / "generic").is_dir() for task in TASKS)
    target = written.with_name("printed.html")
    page.write(ROOT if built else small_project, target)
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.get(target.as_uri())
    until(browser, "document.documentElement.dataset.drawn > 0")
    paper = {"printBackground": True, "paperWidth": 8.27, "paperHeight": 11.69}
    printed = browser.execute_cdp_cmd("Page.printToPDF", paper)
    pdf = base64.b64decode(printed["data"])
    assert pdf.startswith(b"%PDF")
    assert 3 <= len(re.findall(rb"/Type\s*/Page[^s]", pdf)) <= 12
    assert not browser.execute_script("return document.querySelectorAll('.printing').length")
    browser.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    small = browser.execute_script("""
        const all = [...document.querySelectorAll('main *')];
        const seen = all.filter((e) => e.offsetHeight || e.closest('.chart svg'));
        const texts = seen.filter((e) => !e.closest('.network') && [...e.childNodes].some(
            (node) => node.nodeType === 3 && node.data.trim()) && e.getBoundingClientRect().height);
        return Math.min(...texts.map((e) => parseFloat(getComputedStyle(e).fontSize)))""")
    browser.execute_script("window.dispatchEvent(new Event('afterprint'))")
    # CSS pixels before the page's zoom of 0.8, each 0.75 points.
    assert small * 0.8 * 0.75 >= 6
    if shutil.which("pdftotext"):  # of poppler-utils: how high the letters became, pages broken
        target.with_suffix(".pdf").write_bytes(pdf)
        command = ("pdftotext", "-bbox", target.with_suffix(".pdf"), "-")
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found = re.findall(r'yMin="([0-9.]+)".*yMax="([0-9.]+)">(.*)</word>', text)
        assert len(found) > 100
        # The font's lines are 1.16 times as high as its size.
        tiny = {html.unescape(word) for low, high, word in found if float(high) - float(low) < 6.9}
        networks = browser.execute_script(
            "return [...document.querySelectorAll('.network text')].map((e) => e.textContent)"
        )
        assert tiny <= set(" ".join(networks).split())


@pytest.fixture
def comparison(tmp_path):
    """The page of two revisions: by hand, 8 of 10 right and then 4, with a name that is no HTML."""
    lock = {"data/prepared/letters.h5": {"md5": "0" * 32, "size": 1}}

    def revision(name, answers, cells):
        accuracy = {
            "accuracy": cells / 100,
            "correct": cells // 10,
            "n": 10,
            "wilson95": [0.1, 0.9],
        }
        row = {"resource": NO_HTML, "used": cells}
        metrics = {
            "accuracy": {"integer": accuracy},
            "layers": [{"node": "lif", "entries": 400, "spike_rate": 0.25}],
        }
        texts = {
            "models/letters/confusion.csv": "actual,predicted\n" + "".join(f"A,{x}\n" for x in answers),
            "models/letters/parity.json": json.dumps({"samples": 10, "layers": []}),
            "metrics/letters-generic.json": json.dumps({"Footprint": 4000}),
            "metrics/letters-abacus.json": json.dumps(metrics),
            "models/letters/deploy/abacus/fit.json": json.dumps({
                "verdict": "fits", "utilisation": [row]
            }),
        }  # fmt: skip
        outs = lock | {path: {"md5": "0" * 32, "size": len(text)} for path, text in texts.items()}
        return Revision(name, f"the commit {NO_HTML}", outs, lambda path: texts[path].encode())

    part = against.make(revision("old", "AAAAAAAABB", 50), revision("new", "BBBBBBAAAA", 60), [])
    path = tmp_path / "against.html"
    path.write_text(against._render(part), encoding="utf-8")
    return path


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_two_revisions_fit_without_a_word_and_show_their_numbers(browser, comparison, width, theme):
    opened(browser, comparison.as_uri(), width, theme)
    assert [e for e in browser.get_log("browser") if e["level"] != "INFO"] == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.execute_script("return document.querySelectorAll('script').length") == 1
    # As a person reads them; on a narrow page the first columns of a table that scrolls.
    rows = browser.execute_script(
        "return [...document.querySelectorAll('tbody tr')]"
        ".map((row) => [...row.children].map((cell) => cell.innerText))"
    )
    (trained,) = [row for row in rows if row[:2] == ["letters, trained", "8 of 10"]]
    # Only the first six are right at `old` alone, the last two now alone: p = 2 (1 + 8 + 28) / 256.
    assert (trained[4], trained[-4:]) == ("4 of 10", ["-40.00", "6", "2", "0.29"])
    (cells,) = [row for row in rows if row[1].startswith("<script>")]
    assert cells == ["letters, abacus", SHOWN, "50", "60", "+20 %"]
    text = browser.execute_script("return document.body.innerText")
    assert f"the commit {SHOWN}" in text and not {"\u202e", "\x1b"} & set(text)


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_two_revisions_have_landmarks_and_tab_stops_with_a_purpose(browser, comparison, width):
    opened(browser, comparison.as_uri(), width, "light")
    names = browser.execute_script(LANDMARKS)
    assert names and all(names) and len(names) == len(set(names))
    counted = "['main', 'header', 'h1'].map((e) => document.querySelectorAll(e).length)"
    assert browser.execute_script(f"return {counted}") == [1, 1, 1]
    assert browser.execute_script(IDLE) == []
    # What does not fit can be scrolled by keyboard.
    assert (
        browser.execute_script("""
        return [...document.querySelectorAll('.scroll')].filter((e) =>
            e.scrollWidth > e.clientWidth + 1 && e.tabIndex < 0).length""")
        == 0
    )
