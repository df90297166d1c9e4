"""A headless Chromium for tests, driven by its DevTools protocol over pipes; needs no package."""

import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PATH = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(PATH is None, reason="needs chromium, which is not installed")

LONGEST_WAIT_S = 60
"""A browser that is silent for longer has failed."""
LAUNCHER = "import os, sys; a, b, *call = sys.argv[1:]; os.dup2(int(a), 3); os.dup2(int(b), 4); os.execv(call[0], call)"
"""Chromium reads commands from file descriptor 3 and writes answers to 4."""


class Chromium:
    """A browser with one page. `requests` holds the addresses that the page asked for, `errors` its exceptions.

    Args:
        profile: Empty folder for the profile.
    """

    def __init__(self, profile: Path) -> None:
        read_commands, self._commands = os.pipe()
        self._answers, write_answers = os.pipe()
        # From 20 on, so that neither is overwritten when the launcher makes 3 and 4.
        moved = [fcntl.fcntl(end, fcntl.F_DUPFD, 20) for end in (read_commands, write_answers)]
        arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "about:blank"]
        arguments += [f"--user-data-dir={profile}", "--proxy-server=127.0.0.1:9", "--disable-background-networking"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER, *map(str, moved), str(PATH), *arguments],
            pass_fds=moved,
            stderr=subprocess.DEVNULL,
        )
        for descriptor in (read_commands, write_answers, *moved):
            os.close(descriptor)
        self._received, self._count, self._session = b"", 0, None
        self.requests: list[str] = []
        self.errors: list[str] = []
        try:
            self._attach()
        except BaseException:
            self.close()
            raise

    def _attach(self) -> None:
        targets = self.call("Target.getTargets")["targetInfos"]
        (page,) = (target for target in targets if target["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "DOM"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        """End the browser."""
        self._process.kill()
        self._process.wait()
        os.close(self._commands)
        os.close(self._answers)

    def _message(self) -> dict:
        while b"\0" not in self._received:
            ready, _, _ = select.select([self._answers], [], [], LONGEST_WAIT_S)
            assert ready, "chromium does not answer"
            part = os.read(self._answers, 1 << 20)
            assert part, "chromium ended"
            self._received += part
        message, _, self._received = self._received.partition(b"\0")
        return json.loads(message)

    def _note(self, event: dict) -> None:
        facts = event.get("params", {})
        if event["method"] == "Network.requestWillBeSent":
            self.requests.append(facts["request"]["url"])
        elif event["method"] == "Runtime.exceptionThrown":
            details = facts["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        elif event["method"] == "Log.entryAdded" and facts["entry"]["level"] == "error":
            self.errors.append(facts["entry"]["text"])

    def call(self, method: str, **parameters: object) -> dict:
        """Call a method of the protocol and return its result."""
        self._count += 1
        session = {"sessionId": self._session} if self._session else {}
        command = {"id": self._count, "method": method, "params": parameters, **session}
        os.write(self._commands, json.dumps(command).encode() + b"\0")
        while (message := self._message()).get("id") != self._count:
            self._note(message)
        assert "error" not in message, message["error"]
        return message["result"]

    def open(self, file: Path) -> None:
        """Open a file and wait until it is loaded."""
        self._go(file.as_uri())

    def open_blank(self) -> None:
        """Open an empty page."""
        self._go("about:blank")

    def _go(self, address: str) -> None:
        self.call("Page.navigate", url=address)
        while True:
            event = self._message()
            self._note(event)
            if event.get("method") == "Page.loadEventFired":
                return

    def run(self, expression: str) -> object:
        """Evaluate JavaScript in the page; waits for a promise."""
        result = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def apply(self, function: str, *arguments: object) -> object:
        """Call a function of the page with arguments that JSON can hold; NaN is not among them."""
        return self.run(f"({function})({', '.join(map(json.dumps, arguments))})")

    def choose(self, selector: str, *files: Path) -> None:
        """Give files to a file input, as a user does."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(file) for file in files])

    def press(self, key: str, text: str = "") -> None:
        """Press and release a key."""
        code = {"Tab": 9, "Enter": 13, " ": 32}.get(key, 0)
        facts = {"key": key, "code": {" ": "Space"}.get(key, key), "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **facts)
        self.call("Input.dispatchKeyEvent", type="keyUp", **facts)
