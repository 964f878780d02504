"""``python -m benchmarks.bare PATH`` serves the reference: a bare aiohttp server on uvloop.

Its one POST route reads the body and answers as the daemon does.
"""

import asyncio
import sys

import orjson
import uvloop
from aiohttp import web

BODY = b'{"received": true}'


async def _answer(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(body=BODY, content_type="application/json")


async def _serve(path: str) -> None:
    app = web.Application()
    app.router.add_post(path, _answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    sys.stdout.buffer.write(orjson.dumps({"listener": f"http://{host}:{port}"}) + b"\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve(sys.argv[1]))
