"""aiohttp both ways.  python web.py server|client HOST PORT"""

import asyncio
import sys

import aiohttp
from aiohttp import web

role, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])


async def serve() -> None:
    stopped = asyncio.Event()

    async def numbers(request: web.Request) -> web.Response:
        return web.json_response({"numbers": list(range(int(request.query["n"])))})

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        async for chunk in request.content.iter_chunked(8192):
            await response.write(chunk.upper())
        await response.write_eof()
        return response

    async def talk(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(f"you said {message.data}")
        stopped.set()
        return socket

    app = web.Application()
    app.add_routes(
        [web.get("/numbers", numbers), web.post("/stream", stream), web.get("/ws", talk)]
    )
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    print("ready", flush=True)
    await stopped.wait()
    await runner.cleanup()
    print("stopped")


async def client() -> None:
    async with aiohttp.ClientSession(f"http://{host}:{port}") as session:
        async with session.get("/numbers", params={"n": 500}) as response:
            print(response.status, sum((await response.json())["numbers"]))
        async with session.post("/stream", data=b"letters " * 10_000) as response:
            body = await response.read()
            print(response.status, body[:8], len(body))
        async with session.get("/nothing") as response:
            print(response.status, response.reason)
        async with session.ws_connect("/ws") as socket:
            for word in ("hello", "bye"):
                await socket.send_str(word)
                print((await socket.receive()).data)


asyncio.run(serve() if role == "server" else client())
