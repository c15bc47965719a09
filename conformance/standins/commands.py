"""crisis-conformance standin …: start a stand-in as a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from conformance.keys import KeyFault
from conformance.standins.behaviour import Behaviour, UnknownBehaviour
from conformance.standins.ehr import SCOPES, Ehr
from conformance.standins.rms import KINDS, Rms
from conformance.standins.server import serve
from conformance.wire import WireLog

standins = typer.Typer(help="Stand-in systems that can be told to misbehave.", no_args_is_help=True)

Port = Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on, on loopback.")]
State = Annotated[Path, typer.Option(help="Folder for its key, its JWK Set to register, and requests.jsonl.")]
Gateway = Annotated[str, typer.Option(help="Base URL of the gateway, without /fhir.")]
Client = Annotated[str | None, typer.Option("--client-id", help="Who it is at the gateway.")]
Wire = Annotated[Path | None, typer.Option(help="Save every exchange here as <nn>-<from>-<to>.http.")]
Name = Annotated[str | None, typer.Option(help="Its name in the files of --wire.")]
SenderScope = Annotated[str | None, typer.Option(help="Scope to ask the gateway for; that of its intake where none is given.")]
BIND = "127.0.0.1"


@standins.command()
def rms(
    port: Port,
    state: State,
    gateway: Gateway = "http://127.0.0.1:8080",
    client_id: Client = None,
    scope: SenderScope = None,
    wire: Wire = None,
    name: Name = None,
) -> None:
    """A police records system: posts diversion requests, reads, cancels, and takes signed callbacks."""
    _serve_sender("rms", port, state, gateway, client_id, scope, wire, name)


@standins.command()
def cad(
    port: Port,
    state: State,
    gateway: Gateway = "http://127.0.0.1:8080",
    client_id: Client = None,
    scope: SenderScope = None,
    wire: Wire = None,
    name: Name = None,
) -> None:
    """A 911 centre's CAD: the same as rms, with EIDOs."""
    _serve_sender("cad", port, state, gateway, client_id, scope, wire, name)


@standins.command()
def ehr(
    port: Port,
    state: State,
    gateway: Gateway = "http://127.0.0.1:8080",
    client_id: Client = None,
    scope: Annotated[str, typer.Option(help="Scope to ask the gateway for.")] = SCOPES,
    wire: Wire = None,
    name: Name = None,
    answer: Annotated[str, typer.Option(help="What it does with a Task by itself: manual, accept, decline, accept-twice.")] = "manual",
    answer_after: Annotated[float, typer.Option(help="Seconds it waits before it answers.", min=0)] = 0.0,
    conditional_create: Annotated[bool, typer.Option(help="Whether it knows ifNoneExist and conditional update.")] = True,
) -> None:
    """A provider's EHR: a FHIR server with SMART discovery that receives, and a person who answers."""
    base = f"http://{BIND}:{port}"
    log = WireLog(wire) if wire else None
    wanted = {"answer": answer, "answer_after_seconds": answer_after, "conditional_create": conditional_create}
    try:
        Behaviour().change(wanted)
        made = Ehr(base, gateway.rstrip("/"), state, client_id=client_id or "standin-ehr", scope=scope, name=name or "ehr", wire=log)
    except (KeyFault, UnknownBehaviour) as fault:
        raise _refuse(str(fault)) from None
    made.behaviour.change(wanted)
    serve(made.app, BIND, port, {"standin": "ehr", "jwks": str(state / "jwks.json"), "fhir": f"{base}/fhir"})


def _serve_sender(
    kind: str, port: int, state: Path, gateway: str, client_id: str | None, scope: str | None, wire: Path | None, name: str | None
) -> None:
    base, log, speaks = f"http://{BIND}:{port}", WireLog(wire) if wire else None, KINDS[kind]
    known_as = client_id or f"standin-{kind}"
    try:
        made = Rms(base, gateway.rstrip("/"), state, kind=speaks, client_id=known_as, scope=scope, name=name or kind, wire=log)
    except KeyFault as fault:
        raise _refuse(str(fault)) from None
    serve(made.app, BIND, port, {"standin": kind, "jwks": str(state / "jwks.json"), "callback": f"{base}{speaks.callback_path}"})


def _refuse(text: str) -> typer.Exit:
    typer.echo(text, err=True)
    return typer.Exit(2)
