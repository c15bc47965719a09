"""`crisis-gateway token CLIENT --key FILE --scope …`: a token got the ordinary way, so that `curl` works in a minute.

It acts as the client does: discovery, a signed assertion, the token endpoint of the gateway that BASE_URL names. It opens no database.
"""

from __future__ import annotations

import json
import secrets
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import requests
import typer
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from gateway.commands.database import telling_refusals
from gateway.settings import Settings

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
CALL_SECONDS: Final = 10
ALGORITHMS: Final = {"EC": "ES384", "RSA": "RS384"}
KEYS: Final[dict[str, Any]] = {"EC": ECKey, "RSA": RSAKey}


def token(
    client_id: Annotated[str, typer.Argument(metavar="CLIENT", help="Id of a registered client.")],
    key: Annotated[Path, typer.Option(help="Its private key: a JWK or JWK Set (P-384 or RSA).")],
    scope: Annotated[str, typer.Option(help="Scopes to ask for, with blanks between; default: all that are registered.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole answer.")] = False,
) -> None:
    """Print an access token. Exit 1 with the endpoint's own words when it gives none."""
    with telling_refusals():
        base_url = Settings.from_environment().base_url
    signer = _read_key(key)
    with requests.Session() as session:
        session.trust_env = False
        try:
            found = session.get(f"{base_url}/fhir/.well-known/smart-configuration", timeout=CALL_SECONDS, allow_redirects=False)
            endpoint = str(found.json()["token_endpoint"])
            form = {
                "grant_type": "client_credentials",
                "client_assertion_type": ASSERTION_TYPE,
                "client_assertion": _assertion(client_id, endpoint, signer),
                **({"scope": scope} if scope else {}),
            }
            answer = session.post(endpoint, data=form, timeout=CALL_SECONDS, allow_redirects=False)
            body = answer.json()
        except (requests.RequestException, ValueError, KeyError, TypeError) as error:
            _fail(f"no gateway answers as one at {base_url} ({type(error).__name__})")
    if answer.status_code != 200:
        _fail(f"{answer.status_code} {body.get('error')}: {body.get('error_description', '')}")
    print(json.dumps(body, indent=2) if as_json else body["access_token"])


def _read_key(file: Path) -> ECKey | RSAKey:
    """The first private key of a file."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        first = document["keys"][0] if "keys" in document else document
        signer: ECKey | RSAKey = KEYS[first["kty"]].import_key(first)
    except OSError as error:
        _fail(f"{file}: {error.strerror}")
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, JoseError):
        _fail(f"{file}: no private JWK of type EC or RSA")
    if not signer.is_private:
        _fail(f"{file}: a public key; the private one is needed")
    return signer


def _assertion(client_id: str, endpoint: str, signer: ECKey | RSAKey) -> str:
    now = int(time.time())
    algorithm = ALGORITHMS[signer.key_type]
    header = {"alg": algorithm, "kid": signer.kid or signer.thumbprint(), "typ": "JWT"}
    claims = {"iss": client_id, "sub": client_id, "aud": endpoint, "jti": secrets.token_urlsafe(32), "iat": now, "exp": now + 240}
    return jwt.encode(header, claims, signer, algorithms=[algorithm])


def _fail(text: str) -> NoReturn:
    print(text, file=sys.stderr)
    raise typer.Exit(1)


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("token")(token)
