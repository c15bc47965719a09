"""`crisis-gateway serve [--with-worker]`: the server processes, and on one machine the worker beside them.

gunicorn's threaded worker reads the requests (DESIGN §11). Everything a process opens is opened after the fork. A process that
must write no more (a COMMIT failed) leaves, and another one takes its place.
"""

from __future__ import annotations

import os
import signal
from typing import Annotated, Any, Final

import typer
from flask import Flask
from gunicorn.app.base import BaseApplication

from gateway.app import build, settle
from gateway.commands.beside import serve_with_worker
from gateway.commands.database import require_ready
from gateway.settings import Settings

REQUEST_SECONDS: Final = 60
HEADER_FIELDS: Final = 64
HEADER_BYTES: Final = 8190
LINE_BYTES: Final = 8190


class Server(BaseApplication):  # type: ignore[misc]
    """gunicorn with settings of ours; nothing is read from its own configuration files or environment."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        super().__init__()

    def load_config(self) -> None:
        """Hand gunicorn what the settings say, and limits of every boundary."""
        values = {
            "bind": [self.settings.bind],
            "workers": self.settings.processes,
            "worker_class": "gthread",
            "threads": self.settings.threads,
            "timeout": REQUEST_SECONDS,
            "graceful_timeout": self.settings.graceful_seconds,
            "keepalive": 15,
            "limit_request_line": LINE_BYTES,
            "limit_request_fields": HEADER_FIELDS,
            "limit_request_field_size": HEADER_BYTES,
            "forwarded_allow_ips": "",  # no address, scheme or host is taken from a header
            "accesslog": None,
            "loglevel": "warning",
            "proc_name": "crisis-gateway",
            "control_socket_disable": True,
        }
        for name, value in values.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> Flask:
        """Make the application of one server process; called after the fork."""
        app = build(self.settings)
        app.extensions["gateway"].database.on_broken = leave
        settle()
        return app


def leave() -> None:
    """End this server process: it answers what it has, then another one is started in its place."""
    os.kill(os.getpid(), signal.SIGTERM)


def serve(
    with_worker: Annotated[bool, typer.Option("--with-worker", help="Also run a worker, as a process beside.")] = False,
) -> None:
    """Answer requests until SIGTERM; what is under way then is brought to its end."""
    settings = require_ready()
    if with_worker:
        raise typer.Exit(serve_with_worker(settings))
    server: Any = Server(settings)
    settle()
    server.run()


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("serve")(serve)
