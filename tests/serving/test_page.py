"""The web page in a real browser: draw a digit, classify a text, predict a row's price."""

from __future__ import annotations

import ast
import base64
import json
import math
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from mlctl.services.serving import keys
from tests.trained import Trained

from .conftest import RunningEndpoint, StartEndpoint

pytestmark = [pytest.mark.live, pytest.mark.needs("browser")]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    from .browser import Browser

    opened = Browser(tmp_path_factory.mktemp("browser"))
    yield opened
    opened.close()


def circle(x: float, y: float, wide: float, high: float) -> list[tuple[float, float]]:
    turns = [2 * math.pi * step / 24 for step in range(25)]
    return [(x + wide * math.sin(turn), y - high * math.cos(turn)) for turn in turns]


STROKES = {
    "0": [circle(0.5, 0.5, 0.2, 0.36)],
    "1": [[(0.36, 0.3), (0.52, 0.14), (0.52, 0.86)]],
    "7": [[(0.25, 0.15), (0.75, 0.15), (0.45, 0.85)], [(0.38, 0.5), (0.7, 0.5)]],
    "4": [[(0.45, 0.12), (0.25, 0.6), (0.78, 0.6)], [(0.6, 0.4), (0.6, 0.88)]],
}


def test_a_drawn_digit_is_recognised(  # type: ignore[no-untyped-def]
    browser, serve: StartEndpoint, digits: Trained, tmp_path: Path
) -> None:
    endpoint = serve(digits.model)
    browser.open(endpoint.url)
    answers = {}
    for digit, strokes in STROKES.items():
        browser.evaluate("document.getElementById('clear').click()")
        for stroke in strokes:
            browser.draw(*stroke)
            browser.wait_until("document.querySelectorAll('.bar').length === 10")
        browser.wait_until("/This number/.test(document.getElementById('answer').innerText)")
        answers[digit] = browser.evaluate("document.getElementById('answer').innerText")[-1]
    browser.screenshot(tmp_path / "page.png")
    assert sum(drawn == answer for drawn, answer in answers.items()) >= 3, answers
    assert "version 1" in browser.evaluate("document.querySelector('h1').innerText")
    assert re.search(r"trained (now|\d+ (second|minute)s? ago)", browser.evaluate("about.innerText"))
    captions = "[...document.querySelectorAll('figcaption')].map((caption) => caption.innerText)"
    assert browser.evaluate(captions) == ["Draw here with mouse or finger", "What the model sees: 8x8 pixels"]
    browser.evaluate("clear.click(); example.click()")
    browser.wait_until("/This number/.test(document.getElementById('answer').innerText)")
    example = json.loads((digits.model / "serving_input_example.json").read_text())
    assert json.loads(browser.evaluate("curl.textContent").partition("-d '")[2][:-1]) == example
    browser.evaluate("document.querySelector('button.copy').click()")
    browser.wait_until("document.querySelector('button.copy').textContent === 'Copied'")
    command = browser.evaluate("curl.textContent")
    assert f"{endpoint.url}/invocations" in command
    curl = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert json.loads(curl.stdout)["predictions"]
    python = subprocess.run(
        [sys.executable, "-c", browser.evaluate("python.textContent")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert python.stdout.startswith("[[")
    picture = Image.new("L", (200, 200), 255)
    ImageDraw.Draw(picture).line([(100, 30), (100, 170)], fill=0, width=24)
    picture.save(tmp_path / "one.png")
    browser.evaluate("clear.click()")
    browser.choose_file("#picture", tmp_path / "one.png")
    browser.wait_until("document.querySelectorAll('.bar').length === 10 && chosen.complete && !chosen.hidden")
    command = browser.evaluate("curl.textContent")
    assert command.endswith("--data-binary '@one.png'")
    sent = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True, cwd=tmp_path)
    uploaded = subprocess.run(
        [sys.executable, "-c", browser.evaluate("python.textContent")],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert json.loads(sent.stdout)["predictions"] == json.loads(uploaded.stdout)
    assert browser.problems == []
    endpoint.stop()


def test_forms_for_a_text_and_a_row(browser, texts: RunningEndpoint, table: RunningEndpoint) -> None:  # type: ignore[no-untyped-def]
    browser.open(texts.url)
    browser.evaluate("text.value = 'a very good film'; predict.click()")
    browser.wait_until("document.querySelectorAll('.bar').length === 2")
    assert browser.evaluate("document.getElementById('answer').innerText") in ("negative", "positive")
    browser.evaluate("clear.click(); example.click()")
    assert browser.evaluate("text.value") == "a very good film"
    browser.wait_until("document.querySelectorAll('.bar').length === 2")
    browser.open(table.url)
    choices = "[...document.querySelector('select[name=place]').options].map((option) => option.value)"
    assert browser.evaluate(choices) == ["", "INLAND", "NEAR BAY"]
    browser.evaluate("document.querySelector('[name=rooms]').value = '9'; predict.click()")
    browser.wait_until("document.getElementById('answer').innerText.includes('$')")
    browser.evaluate("example.click()")
    assert browser.evaluate("document.querySelector('[name=rooms]').value") != "9"
    values = {"a": [True, None, 'it\'s "é"\n', 1.5, []], "rows": [[0.25] * 30] * 2, "text": "x" * 99}
    literal = browser.evaluate(f"toPython({json.dumps(values)})")
    assert ast.literal_eval(literal) == values
    assert max(len(line) for line in literal.splitlines() if "x" not in line) <= 88
    browser.evaluate("document.querySelector('[name=age]').value = ''; predict.click()")
    browser.wait_until("document.getElementById('answer').innerText.includes('$')")
    browser.evaluate("document.querySelector('[name=rooms]').value = ''; predict.click()")
    browser.wait_until("document.getElementById('answer').classList.contains('wrong')")
    assert "rooms" in browser.evaluate("document.getElementById('answer').innerText")


def test_an_endpoint_with_keys(
    browser, serve: StartEndpoint, models: dict[str, Path], tmp_path: Path
) -> None:  # type: ignore[no-untyped-def]
    secret = keys.create_key(tmp_path / "keys", "me").secret
    endpoint = serve(models["texts"], key_file=str(tmp_path / "keys"))
    address = f"http://user:{secret}@127.0.0.1:{endpoint.port}/"
    assert endpoint.request("/").status == 401
    basic = base64.b64encode(f"user:{secret}".encode()).decode()
    assert endpoint.request("/", authorization=f"Basic {basic}").status == 200
    browser.open(address)
    # the browser sends the key of the address with each request, but the page must not show it
    browser.evaluate("history.replaceState(null, '', '/')")
    assert "Authorization: Bearer $API_KEY" in browser.evaluate("curl.textContent")
    assert secret not in browser.evaluate("document.documentElement.outerHTML")
    endpoint.stop()


def test_forms_for_named_inputs_and_answers_of_every_kind(
    browser, serve: StartEndpoint, named: dict[str, Path], tmp_path: Path
) -> None:  # type: ignore[no-untyped-def]
    answer = "document.getElementById('answer').innerText"
    endpoint = serve(named["tickets"])
    browser.open(endpoint.url)
    browser.evaluate("document.querySelector('[name=ids]').value = '[1, 2, 3, 4]'; predict.click()")
    browser.wait_until("document.querySelectorAll('.bar').length === 6")
    text = browser.evaluate(answer)
    assert "priority: " in text
    assert "department: " in text
    assert text.endswith(" h")
    curl = subprocess.run(
        ["sh", "-c", browser.evaluate("curl.textContent")], capture_output=True, text=True, check=True
    )
    assert set(json.loads(curl.stdout)["predictions"]) == {"priority", "department", "delay"}
    browser.screenshot(tmp_path / "tickets.png")
    browser.evaluate("document.querySelector('[name=ids]').value = '[1, x'; predict.click()")
    browser.wait_until("document.getElementById('answer').classList.contains('wrong')")
    assert browser.evaluate(answer).startswith("ids: ")
    endpoint.stop()
    for name, script, words in (
        ("people", "document.querySelector('[name=city]').value = 'Rome'; predict.click()", "CHF"),
        ("topics", "predict.click()", ""),
        ("tags", "predict.click()", ""),
        ("masks", "predict.click()", "6x6 pixels"),
    ):
        endpoint = serve(named[name])
        browser.open(endpoint.url)
        browser.evaluate(script)
        browser.wait_until(f"!/No answer/.test({answer})")
        assert words in browser.evaluate(answer)
        assert not browser.evaluate("document.getElementById('answer').classList.contains('wrong')")
        endpoint.stop()


def test_the_page_of_the_api_sends_the_example(browser, texts: RunningEndpoint, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    def body(name: str) -> str:
        return f"document.querySelector('#{name} .body')"

    browser.problems.clear()
    browser.call("Page.navigate", url=f"{texts.url}/docs")
    browser.wait_until(f"!!{body('predict')}")
    browser.evaluate(f"{body('predict')}.querySelector('[name=details]').click()")
    for name, words in (("predict", '"label"'), ("infer", '"FP32"'), ("version", '"mlflow"')):
        browser.evaluate(f"document.getElementById('{name}').open = true")
        browser.wait_until(f"!!{body(name)}")
        browser.evaluate(f"{body(name)}.querySelector('.send').click()")
        browser.wait_until(f"/200/.test({body(name)}.querySelector('.status').innerText)")
        assert words in browser.evaluate(f"{body(name)}.querySelector('.answer').innerText")
    curl, python = browser.evaluate(
        f"[...{body('predict')}.querySelectorAll('.columns pre')].map((code) => code.textContent)"
    )
    for command in (["sh", "-c", curl], [sys.executable, "-c", python]):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert "request_id" in done.stdout
    browser.screenshot(tmp_path / "docs.png")
    assert browser.problems == []
