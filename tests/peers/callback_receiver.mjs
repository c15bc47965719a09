// A sender's system as its vendor would write it: the gateway's keys by jose, the signature by http-message-signatures (RFC 9421).
// Reads {"jwks", "requests": [{"method", "url", "headers", "body"}]} (body in base64) from standard input and prints one verdict a
// request: {"kid"}, or {"refused": why}.

import { readFileSync } from "node:fs";
import { createHash, KeyObject, webcrypto } from "node:crypto";

// Debian 12's Node 18 keeps them to itself; the libraries take the globals.
globalThis.crypto ??= webcrypto;
globalThis.CryptoKey ??= webcrypto.CryptoKey;
const { createRemoteJWKSet } = await import("jose");
const { createVerifier, httpbis } = (await import("http-message-signatures")).default;
const { parseDictionary } = await import("structured-headers");

const asked = JSON.parse(readFileSync(0, "utf8"));
const published = createRemoteJWKSet(new URL(asked.jwks));

// RFC 9530: the signature covers this field; whether it fits the content is for the receiver to see.
function requireDigest(headers, body) {
  const [said] = parseDictionary(headers["content-digest"]).get("sha-256") ?? [];
  if (!said || !Buffer.from(said).equals(createHash("sha256").update(body).digest())) throw new Error("Content-Digest");
}

async function judge(request) {
  let kid;
  requireDigest(request.headers, Buffer.from(request.body, "base64"));
  const verified = await httpbis.verifyMessage(
    {
      async keyLookup(params) {
        if (params.tag !== "crisis-referral-callback") return null;
        kid = params.keyid;
        const key = await published({ alg: "ES384", kid });
        const alg = "ecdsa-p384-sha384";
        return { id: kid, algs: [alg], verify: createVerifier(KeyObject.from(key), alg) };
      },
      requiredParams: ["created", "keyid", "tag"],
      requiredFields: ["@method", "@target-uri", "content-digest", "content-type", "crisis-delivery-id"],
      maxAge: 300,
    },
    request,
  );
  if (verified !== true) throw new Error(verified === null ? "no signature" : "signature");
  return kid;
}

const verdicts = [];
for (const request of asked.requests) {
  verdicts.push(
    await judge(request).then(
      (kid) => ({ kid }),
      (fault) => ({ refused: fault.code ?? fault.message }),
    ),
  );
}
console.log(JSON.stringify(verdicts));
