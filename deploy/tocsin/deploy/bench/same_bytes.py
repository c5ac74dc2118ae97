"""The least an aiohttp server can do: answer with the bytes it was given last. Prints its port."""

from __future__ import annotations

from aiohttp import web

from tocsin.deploy.stack.ports import HOST, free_port


def main() -> None:
    """Until it is ended."""
    kept = b""

    async def put(request: web.Request) -> web.Response:
        nonlocal kept
        kept = await request.read()
        return web.Response()

    async def get(request: web.Request) -> web.Response:
        return web.Response(body=kept)

    app = web.Application(client_max_size=64 << 20)
    app.add_routes([web.put("/", put), web.get("/", get)])
    port = free_port()

    web.run_app(app, host=HOST, port=port, print=lambda text: print(port, flush=True))


if __name__ == "__main__":
    main()
