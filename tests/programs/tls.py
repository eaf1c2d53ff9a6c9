"""TLS by asyncio's server; clients by asyncio and by a blocking socket.

python tls.py server HOST PORT CERTIFICATE KEY; python tls.py client HOST PORT AUTHORITY
"""

import asyncio
import socket
import ssl
import sys
import urllib.request

role, host, port, certificate = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
NAME = "server.example"


async def serve(key: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    stopped = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        if line.startswith(b"GET"):
            while (await reader.readline()).strip():
                pass
            writer.write(b"HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nsecret")
        else:
            writer.write(line.upper() * 5_000)
        await writer.drain()
        writer.close()
        if line == b"stop\n":
            stopped.set()

    async with await asyncio.start_server(answer, host, port, ssl=context):
        print("ready", flush=True)
        await stopped.wait()
    print("stopped")


async def ask(context: ssl.SSLContext, line: bytes) -> None:
    reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=NAME)
    print(writer.get_extra_info("ssl_object").version())
    writer.write(line)
    print(len(await reader.read()))
    writer.close()


def ask_blocking(context: ssl.SSLContext) -> None:
    with (
        socket.create_connection((host, port), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname=NAME) as sock,
    ):
        print(sock.version(), dict(name[0] for name in sock.getpeercert()["issuer"]) != {})
        sock.sendall(b"blocking\n")
        data = bytearray()
        while piece := sock.recv(10_000):
            data += piece
        print(data[:9], len(data))


def refuse() -> None:
    try:
        with (
            socket.create_connection((host, port)) as raw,
            ssl.create_default_context().wrap_socket(raw, server_hostname=NAME),
        ):
            print("trusted a stranger")
    except ssl.SSLCertVerificationError as error:
        print(error.verify_message)


def client() -> None:
    context = ssl.create_default_context(cafile=certificate)
    ask_blocking(context)
    refuse()
    context.check_hostname = False
    with urllib.request.urlopen(f"https://{host}:{port}/", context=context) as response:
        print(response.status, response.read())
    asyncio.run(ask(context, b"stop\n"))


if role == "server":
    asyncio.run(serve(sys.argv[5]))
else:
    client()
