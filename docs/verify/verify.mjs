// Is this webhook genuine? Node 16 or newer, no packages.
//
// WEBHOOK_SECRET=whsec_… node verify.mjs ID TIMESTAMP SIGNATURE < body
import { createHmac, createPublicKey, timingSafeEqual, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import { argv, env, exit } from "node:process";
import { pathToFileURL } from "node:url";

const SPKI = Buffer.from("302a300506032b6570032100", "hex"); // what comes before the 32 bytes of an ed25519 key

export function isGenuine(secret, id, timestamp, signatures, body) {
  const signed = Buffer.concat([Buffer.from(`${id}.${timestamp}.`), body]);
  const fresh = Math.abs(Date.now() / 1000 - Number(timestamp)) < 300;
  return fresh && signatures.split(" ").some((one) => fits(secret, signed, one));
}

function fits(secret, signed, signature) {
  if (secret.startsWith("whpk_")) {
    const der = Buffer.concat([SPKI, Buffer.from(secret.slice(5), "base64")]);
    const key = createPublicKey({ key: der, format: "der", type: "spki" });
    return signature.startsWith("v1a,") && verify(null, signed, key, Buffer.from(signature.slice(4), "base64"));
  }
  const key = secret.startsWith("whsec_") ? Buffer.from(secret.slice(6), "base64") : Buffer.from(secret);
  const expected = Buffer.from("v1," + createHmac("sha256", key).update(signed).digest("base64"));
  const given = Buffer.from(signature);
  return given.length === expected.length && timingSafeEqual(given, expected);
}

if (import.meta.url === pathToFileURL(argv[1]).href) {
  const genuine = isGenuine(env.WEBHOOK_SECRET, argv[2], argv[3], argv[4], readFileSync(0));
  console.log(genuine ? "genuine" : "NOT genuine");
  exit(genuine ? 0 : 1);
}
