"""A server from Python's standard library, for trying rsx."""

import json
import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = int(os.environ.get("PORT", "8102"))


class Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # A client that says nothing for this long is let go.
    timeout = 5

    def do_GET(self):
        if self.path == "/":
            self.answer(200, {"hello": "python", "pid": os.getpid()})
        elif self.path == "/health":
            self.answer(200, {"ok": True})
        elif self.path == "/crash":
            self.answer(200, {"crashing": os.getpid()})
            print("crashed on request", file=sys.stderr, flush=True)
            # Not sys.exit: that ends this request's thread only.
            os._exit(1)
        else:
            self.answer(404, {"error": "not found"})

    def answer(self, status, value):
        body = json.dumps(value).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    # Requests in hand are waited for at the end.
    daemon_threads = False
    request_queue_size = 128


def main():
    try:
        server = Server(("0.0.0.0", PORT), Page)
    except OSError as error:
        sys.exit(f"cannot listen on port {PORT}: {error.strerror}")

    def leave(number, _frame):
        print(f"python: {signal.Signals(number).name}, leaving", flush=True)
        # shutdown() waits for the loop, which this thread runs: another thread has to call it.
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    print(f"python: pid {os.getpid()} listens on port {PORT}", flush=True)
    server.serve_forever()
    server.server_close()


if __name__ == "__main__":
    main()
