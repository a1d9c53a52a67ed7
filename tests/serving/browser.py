"""A headless Chromium, controlled with its DevTools protocol."""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
    "--window-size=1000,1100",
)


class Browser:
    """One page of one browser."""

    def __init__(self, profile: Path) -> None:
        program = shutil.which("chromium") or shutil.which("google-chrome")
        assert program
        self._process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._process.stderr
        for line in self._process.stderr:
            if match := re.search(r"ws://\S+", line):
                break
        else:
            raise AssertionError("the browser did not start")
        self._numbers = itertools.count(1)
        self._socket = connect(match[0], max_size=None, open_timeout=30)
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Runtime.enable")
        self.call("Log.enable")
        self.problems: list[str] = []

    def call(self, method: str, **params: Any) -> Any:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        self._socket.send(json.dumps(message | ({"sessionId": self._session} if self._session else {})))
        while True:
            reply = json.loads(self._socket.recv(timeout=60))
            if reply.get("id") == number:
                assert "error" not in reply, reply["error"]
                return reply["result"]
            if reply.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.problems.append(json.dumps(reply["params"]))

    def evaluate(self, expression: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self.wait_until("document.readyState === 'complete' && !!document.getElementById('predict')")

    def wait_until(self, condition: str, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not self.evaluate(condition):
            assert time.monotonic() < deadline, (condition, self.evaluate("document.body.innerText"))
            time.sleep(0.05)

    def draw(self, *points: tuple[float, float]) -> None:
        """Draw a line on the sheet through points of the unit square."""
        box = self.evaluate("(({x, y, width}) => [x, y, width])(sheet.getBoundingClientRect())")
        positions = [(box[0] + x * box[2], box[1] + y * box[2]) for x, y in points]
        self._mouse("mousePressed", positions[0])
        for position in positions[1:]:
            self._mouse("mouseMoved", position)
        self._mouse("mouseReleased", positions[-1])

    def choose_file(self, selector: str, file: Path) -> None:
        """Choose a file in a field of the page."""
        document = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=document, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(file)])

    def screenshot(self, file: Path) -> None:
        file.write_bytes(
            base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"])
        )

    def close(self) -> None:
        self._socket.close()
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _mouse(self, kind: str, position: tuple[float, float]) -> None:
        self.call(
            "Input.dispatchMouseEvent",
            type=kind,
            x=position[0],
            y=position[1],
            button="left",
            clickCount=1,
            buttons=1,
        )
