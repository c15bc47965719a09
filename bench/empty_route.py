"""The limit of the server: one Flask route that does nothing, under the very gunicorn configuration of `crisis-gateway serve`."""

from __future__ import annotations

from typing import Any

from flask import Flask

from gateway.commands.serve import Server
from gateway.settings import Settings

PATH = "/empty"


class EmptyServer(Server):
    """The gateway's server with another application."""

    def load(self) -> Flask:
        """An application with one route."""
        app = Flask("empty", static_folder=None)
        app.add_url_rule(PATH, "empty", lambda: "")
        return app


if __name__ == "__main__":
    server: Any = EmptyServer(Settings.from_environment())
    server.run()
