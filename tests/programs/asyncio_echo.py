"""Echo over asyncio streams.  python asyncio_echo.py server|client HOST PORT CONNECTIONS"""

import asyncio
import sys

role, host, port, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])


async def serve() -> None:
    served, all_served = 0, asyncio.Event()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        while data := await reader.read(4096):
            writer.write(data)
            await writer.drain()
        writer.close()
        await writer.wait_closed()
        served += 1
        if served == count:
            all_served.set()

    async with await asyncio.start_server(echo, host, port, backlog=1024):
        print("ready", flush=True)
        await all_served.wait()
    print("served", served)


async def ask(number: int, open_together: asyncio.Barrier) -> bool:
    reader, writer = await asyncio.open_connection(host, port)
    await open_together.wait()
    message = f"message {number}\n".encode() * 20
    writer.write(message)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer == message


async def client() -> None:
    together = asyncio.Barrier(count)
    answers = await asyncio.gather(*(ask(number, together) for number in range(count)))
    print("right answers", sum(answers))


asyncio.run(serve() if role == "server" else client())
