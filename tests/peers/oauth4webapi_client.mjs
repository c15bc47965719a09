// oauth4webapi as an EHR's integrator would use it: RFC 8414 discovery, private_key_jwt, client credentials, one search.
// Reads {"issuer", "clientId", "jwk", "scope", "search"} from standard input, prints {"token", "status", "body"}.

import { readFileSync } from "node:fs";
import { webcrypto } from "node:crypto";

// Debian 12's Node 18 keeps them to itself; the library takes the globals.
globalThis.crypto ??= webcrypto;
globalThis.CryptoKey ??= webcrypto.CryptoKey;
const oauth = await import("oauth4webapi");

const asked = JSON.parse(readFileSync(0, "utf8"));
const loopback = { [oauth.allowInsecureRequests]: true }; // plain http, which the library otherwise refuses

const issuer = new URL(asked.issuer);
const server = await oauth.processDiscoveryResponse(
  issuer,
  await oauth.discoveryRequest(issuer, { algorithm: "oauth2", ...loopback }),
);

const curve = { name: "ECDSA", namedCurve: "P-384" };
const key = await crypto.subtle.importKey("jwk", asked.jwk, curve, false, ["sign"]);
const client = { client_id: asked.clientId };
const response = await oauth.clientCredentialsGrantRequest(
  server,
  client,
  oauth.PrivateKeyJwt({ key, kid: asked.jwk.kid }),
  new URLSearchParams({ scope: asked.scope }),
  loopback,
);
const token = await oauth.processClientCredentialsResponse(server, client, response);

const found = await oauth.protectedResourceRequest(
  token.access_token,
  "GET",
  new URL(asked.search),
  new Headers({ accept: "application/fhir+json" }),
  null,
  loopback,
);
const { token_type, expires_in, scope } = token;
console.log(JSON.stringify({ token: { token_type, expires_in, scope }, status: found.status, body: await found.json() }));
