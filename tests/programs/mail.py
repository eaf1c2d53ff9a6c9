"""smtplib with a small SMTP server.  python mail.py server|client HOST PORT"""

import email.message
import email.parser
import smtplib
import socketserver
import sys

role, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])


class Handler(socketserver.StreamRequestHandler):
    """RFC 5321, as much of it as one polite client needs."""

    def reply(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())

    def handle(self) -> None:
        self.reply("220 post office")
        for raw in self.rfile:
            line = raw.decode().strip()
            match line.split(maxsplit=1)[0].upper():
                case "EHLO":
                    self.reply("250-post office\r\n250 SIZE 100000")
                case "DATA":
                    self.reply("354 go on")
                    self.receive()
                    self.reply("250 kept")
                case "QUIT":
                    self.reply("221 bye")
                    return
                case "MAIL" | "RCPT":
                    print(line.split(" size")[0])
                    self.reply("550 not here" if "nobody" in line else "250 fine")
                case _:
                    self.reply("502 what?")

    def receive(self) -> None:
        lines = []
        while (line := self.rfile.readline().decode()) != ".\r\n":
            lines.append(line.removeprefix("."))
        message = email.parser.Parser().parsestr("".join(lines))
        print(message["Subject"], len(message.get_payload()))


class Server(socketserver.TCPServer):
    allow_reuse_address = True


def client() -> None:
    message = email.message.EmailMessage()
    message["Subject"], message["From"], message["To"] = "Numbers", "a@example", "b@example"
    message.set_content("\n".join(f".{number}" for number in range(3000)))
    with smtplib.SMTP(host, port, local_hostname="client") as smtp:
        print(smtp.send_message(message, to_addrs=["b@example", "nobody@example"]))
        print(smtp.noop()[0])


if role == "server":
    with Server((host, port), Handler) as server:
        print("ready", flush=True)
        server.handle_request()
else:
    client()
