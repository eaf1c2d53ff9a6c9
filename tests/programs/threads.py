"""socketserver with a thread a connection.  python threads.py server|client HOST PORT"""

import concurrent.futures
import queue
import socket
import socketserver
import sys
import threading
import time

role, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
CLIENTS = 20
together = threading.Barrier(CLIENTS)
finished: queue.Queue[str] = queue.Queue()


class Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        name = self.rfile.readline().decode().strip()
        together.wait()  # all clients are here at once
        for line in self.rfile:
            self.wfile.write(line.upper())
        finished.put(name)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    request_queue_size = CLIENTS


def serve() -> None:
    with Server((host, port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
        thread.start()
        print("ready", flush=True)
        names = sorted(finished.get() for _ in range(CLIENTS))
        server.shutdown()
        thread.join()
    print("finished", *names)


def ask(number: int) -> str:
    with socket.create_connection((host, port), timeout=30) as sock:
        file = sock.makefile("rw")
        file.write(f"client{number:02}\n")
        file.flush()
        time.sleep(0.01 * (number % 3))
        answers = []
        for word in ("one", "two", "three"):
            file.write(f"{word} {number}\n")
            file.flush()
            answers.append(file.readline().strip())
        sock.shutdown(socket.SHUT_WR)
        return ", ".join(answers)


def client() -> None:
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        for answer in pool.map(ask, range(CLIENTS)):
            print(answer)


serve() if role == "server" else client()
