"""The requests that are sent: templates, and records of signatures to fill them with."""

import hashlib
import hmac
import json
import time
from dataclasses import dataclass
from pathlib import Path

PATH = "/v1/chat/completions"
QUESTION_BYTES = 500
SECRET = "secret-of-the-bench-only"
WRONG_SECRET = "somebody-elses-secret"
# questions.lua knows the same widths.
ID_WIDTH, NUMBER_WIDTH = 26, 8
NUMBER_MARK = "{number}"
FIXED_NUMBER = "0" * NUMBER_WIDTH


@dataclass(frozen=True)
class Questions:
    """What wrk sends in one case: a template, and with `records` its fields, each used once."""

    template: Path
    records: Path | None
    count: int


def question(number: str, streamed: bool) -> str:
    """A chat request of exactly QUESTION_BYTES; `number` makes it unique."""

    def body(filling: str) -> str:
        return json.dumps(
            {
                "model": "assistant-small",
                "messages": [
                    {"role": "system", "content": "You are a helpful assistant. Answer in one sentence."},
                    {"role": "user", "content": f"Question {number}: what does a weir do? {filling}"},
                ],
                "temperature": 0.2,
                "max_tokens": 64,
                "stream": streamed,
            },
            separators=(",", ":"),
        )

    words = "Tell it to somebody who has never seen a river. " * 12
    return body(words[: QUESTION_BYTES - len(body(""))])


def request(body: str, signed_with: dict[str, str]) -> str:
    lines = [
        f"POST {PATH} HTTP/1.1",
        "Host: bench.test",
        "User-Agent: weir-bench",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in signed_with.items()),
    ]
    return "\r\n".join(lines) + "\r\n\r\n" + body


def headers(at: int, identity: str, signature: str) -> dict[str, str]:
    return {
        "X-Weir-Key": "bench",
        "X-Weir-Timestamp": str(at),
        "X-Weir-Id": identity,
        "X-Weir-Signature": f"v1={signature}",
    }


def sign(secret: str, at: int, identity: str, body: str) -> str:
    return hmac.digest(secret.encode(), f"{at}.{identity}.{body}".encode(), hashlib.sha256).hex()


def identity_of(number: int) -> str:
    return f"q{number:0{ID_WIDTH - 1}d}"


class Pool:
    """Writes the requests of the cases into a folder, and signs them all at one time."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.at = int(time.time())
        folder.mkdir(parents=True, exist_ok=True)

    def _write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def plain(self) -> Questions:
        return Questions(self._write("plain.http", request(question(FIXED_NUMBER, False), {})), None, 0)

    def page(self) -> Questions:
        """A page that every cache may store."""
        lines = ["GET /page HTTP/1.1", "Host: bench.test", "User-Agent: weir-bench", "Accept: */*"]
        return Questions(self._write("page.http", "\r\n".join(lines) + "\r\n\r\n"), None, 0)

    def bad_signature(self) -> Questions:
        """Well-formed and fresh, so that only the comparison of the signature rejects it."""
        body = question(FIXED_NUMBER, False)
        signed = headers(self.at, identity_of(0), sign(WRONG_SECRET, self.at, identity_of(0), body))
        return Questions(self._write("bad_signature.http", request(body, signed)), None, 0)

    def signed(self, name: str, count: int, streamed: bool, distinct: bool, bodies: int = 0) -> Questions:
        """`count` requests with unique ids; their bodies are equal unless `distinct`, and repeat after `bodies`."""
        before, _, after = question("#" * NUMBER_WIDTH, streamed).partition("#" * NUMBER_WIDTH)
        fixed = question(FIXED_NUMBER, streamed)
        marked = before + NUMBER_MARK + after if distinct else fixed
        template = request(fixed, headers(self.at, "{id}", "{signature}"))
        template = template.replace(fixed, marked)
        records = []
        for number in range(count):
            text = f"{number % (bodies or count):0{NUMBER_WIDTH}d}"
            body = before + text + after if distinct else fixed
            identity = identity_of(number)
            records.append(identity + sign(SECRET, self.at, identity, body) + text)
        path = self._write(f"{name}.records", "".join(records))
        return Questions(self._write(f"{name}.http", template), path, count)

    def whole_requests(self, name: str, first: int, count: int) -> Path:
        """Signed, distinct requests, concatenated as `pace` reads them."""
        texts = []
        for number in range(first, first + count):
            body = question(f"{number:0{NUMBER_WIDTH}d}", False)
            identity = identity_of(number)
            texts.append(request(body, headers(self.at, identity, sign(SECRET, self.at, identity, body))))
        return self._write(f"{name}.http", "".join(texts))
