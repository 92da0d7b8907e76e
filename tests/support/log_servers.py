"""Small servers that give logs, as witnesses do, over real sockets."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from keystead.cesr.keys import Aid
from keystead.testing.authoring import witness


class LogServer:
    """Serves one log to whoever asks for anything, and keeps what was asked.

    Attributes:
        body: the log; it may change.
        status: of the answers; it may change.
        asked: paths that were asked for.
        posted: headers and content of what was posted.
        eid: whose server it is.
    """

    def __init__(self, name: str, body: bytes = b"", status: int = 200) -> None:
        self.body = body
        self.status = status
        self.asked: list[str] = []
        self.posted: list[tuple[dict[str, str], bytes]] = []
        self.eid: Aid = witness(name).aid
        outer = self

        class Answering(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                self._answer(outer.body)

            def do_POST(self) -> None:
                size = int(self.headers["Content-Length"])
                headers = {name.lower(): value for name, value in self.headers.items()}
                outer.posted.append((headers, self.rfile.read(size)))
                self._answer(b"")

            def _answer(self, body: bytes) -> None:
                self.send_response(outer.status)
                self.send_header("Content-Type", "application/json+cesr")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def oobi(self, aid: str) -> str:
        """Return the introduction to an identifier here."""
        return f"{self.url}/oobi/{aid}/witness/{self.eid}"

    def __enter__(self) -> Self:
        """Begin to serve."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
