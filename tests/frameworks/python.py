"""Python servers with one handler each, which weir protects: prints one line `NAME PORT` per server, then `ready`.

Each responds to /v1/chat/completions, and to every variant of it that its router accepts.
"""

import asyncio
import os
import socket
import threading
import time
import wsgiref.simple_server

import django
import flask
import hypercorn.asyncio
import hypercorn.config
import uvicorn
import werkzeug.serving
from django.conf import settings
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

PATH = "/v1/chat/completions"
ANSWER = "answered by the protected handler"

settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="a test's",
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    LOGGING_CONFIG=None,
)
django.setup()

from django.core.asgi import get_asgi_application  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.urls import path  # noqa: E402

urlpatterns = [path(PATH[1:], lambda request: HttpResponse(ANSWER))]

fastapi = FastAPI()


@fastapi.api_route(PATH, methods=["GET", "POST"], response_class=PlainTextResponse)
async def of_fastapi():
    return ANSWER


flask_app = flask.Flask(__name__)
flask_app.add_url_rule(PATH, view_func=lambda: ANSWER, methods=["GET", "POST"], endpoint="chat")


def listening():
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    return listener


def in_background(serve, *arguments):
    threading.Thread(target=serve, args=arguments, daemon=True).start()


def uvicorn_with(app, http):
    listener = listening()
    config = uvicorn.Config(app, http=http, lifespan="off", log_level="critical")
    server = uvicorn.Server(config)
    in_background(lambda: asyncio.run(server.serve(sockets=[listener])))
    return listener.getsockname()[1]


def hypercorn_with(app):
    listener = listening()
    config = hypercorn.config.Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.errorlog = None

    async def serve():
        await hypercorn.asyncio.serve(app, config, shutdown_trigger=asyncio.Future)

    in_background(lambda: asyncio.run(serve()))
    # The descriptor must stay open for as long as the process.
    kept.append(listener)
    return listener.getsockname()[1]


class Quiet(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, *arguments):
        pass


def wsgiref_with(app):
    server = wsgiref.simple_server.make_server("127.0.0.1", 0, app, handler_class=Quiet)
    in_background(server.serve_forever)
    return server.server_port


class QuietToo(werkzeug.serving.WSGIRequestHandler):
    def log(self, *arguments):
        pass


def werkzeug_with(app):
    server = werkzeug.serving.make_server("127.0.0.1", 0, app, threaded=True, request_handler=QuietToo)
    in_background(server.serve_forever)
    return server.server_port


kept = []
for name, port in [
    ("fastapi-uvicorn", uvicorn_with(fastapi, "h11")),
    ("fastapi-uvicorn-httptools", uvicorn_with(fastapi, "httptools")),
    ("fastapi-hypercorn", hypercorn_with(fastapi)),
    ("flask-werkzeug", werkzeug_with(flask_app)),
    ("django-wsgi", wsgiref_with(get_wsgi_application())),
    ("django-uvicorn", uvicorn_with(get_asgi_application(), "h11")),
]:
    print(name, port, flush=True)
print("ready", flush=True)
# Run until the test ends, even if it is killed.
parent = os.getppid()
while os.getppid() == parent:
    time.sleep(0.5)
