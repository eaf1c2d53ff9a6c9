"""ftplib with a small FTP server, in passive mode.  python files.py server|client HOST PORT"""

import ftplib
import hashlib
import io
import socket
import socketserver
import sys

role, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])


class Handler(socketserver.StreamRequestHandler):
    """RFC 959, as much of it as the client below needs."""

    def reply(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())

    def handle(self) -> None:
        files: dict[str, bytes] = {}
        passive: socket.socket | None = None
        self.reply("220 shelf")
        for raw in self.rfile:
            command, _, argument = raw.decode().strip().partition(" ")
            match command:
                case "USER":
                    self.reply("331 password?")
                case "PASS":
                    self.reply("230 welcome")
                case "TYPE":
                    self.reply("200 so be it")
                case "PASV" | "EPSV":
                    passive = socket.create_server((host, 0))
                    where = passive.getsockname()
                    place = ",".join([*where[0].split("."), *map(str, divmod(where[1], 256))])
                    self.reply(f"227 here ({place})")
                case "STOR" | "RETR" | "NLST":
                    assert passive is not None
                    self.reply("150 go")
                    connection, _ = passive.accept()
                    with connection, passive:
                        if command == "STOR":
                            files[argument] = connection.makefile("rb").read()
                        else:
                            listing = "".join(f"{name}\r\n" for name in files).encode()
                            connection.sendall(files.get(argument, listing))
                    self.reply("226 done")
                case "QUIT":
                    self.reply("221 bye")
                    break
                case _:
                    self.reply("502 what?")
        print({name: len(content) for name, content in files.items()})


class Server(socketserver.TCPServer):
    allow_reuse_address = True


def client() -> None:
    content = b"".join(hashlib.sha256(bytes([n])).digest() * 40 for n in range(100))
    with ftplib.FTP() as ftp:
        print(ftp.connect(host, port, timeout=20))
        print(ftp.login("anonymous", "guest@"))
        print(ftp.storbinary("STOR shelf.bin", io.BytesIO(content)))
        print(ftp.nlst())
        received = bytearray()
        print(ftp.retrbinary("RETR shelf.bin", received.extend))
        print(received == content, len(received))


if role == "server":
    with Server((host, port), Handler) as server:
        print("ready", flush=True)
        server.handle_request()
else:
    client()
