"""http.server and urllib.request.  python http_files.py server|client HOST PORT"""

import functools
import hashlib
import http.server
import os
import sys
import tempfile
import threading
import urllib.error
import urllib.request

role, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])


class Handler(http.server.SimpleHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = hashlib.sha256(body).hexdigest().encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
        if self.path == "/stop":
            threading.Thread(target=self.server.shutdown).start()

    def log_message(self, format: str, *args: object) -> None:
        print("log", format % args)


def serve() -> None:
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "numbers.txt"), "w") as file:
            file.writelines(f"{number}\n" for number in range(20_000))
        handler = functools.partial(Handler, directory=folder)
        with http.server.ThreadingHTTPServer((host, port), handler) as server:
            print("ready", flush=True)
            server.serve_forever()
    print("stopped")


def client() -> None:
    url = f"http://{host}:{port}"
    with urllib.request.urlopen(f"{url}/numbers.txt") as response:
        data = response.read()
        print(response.status, response.headers["Content-Type"], len(data))
    print(hashlib.sha256(data).hexdigest())
    with urllib.request.urlopen(f"{url}/") as response:
        print("numbers.txt" in response.read().decode())
    try:
        urllib.request.urlopen(f"{url}/nothing")
    except urllib.error.HTTPError as error:
        print(error.code, error.reason)
    with urllib.request.urlopen(f"{url}/stop", data=b"x" * 100_000, timeout=10) as response:
        print(response.read().decode())


serve() if role == "server" else client()
