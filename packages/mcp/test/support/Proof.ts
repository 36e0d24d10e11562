/** What a resource server checks of a token that is bound to a key (RFC 9449 §7). */
import { createHash, createPublicKey, verify } from "node:crypto"

/** The server wants this nonce in each proof. */
const nonce = "of-the-mcp-server"

const hash = (text: string): string => createHash("sha256").update(text).digest("base64url")

const decode = (part: string): Record<string, unknown> =>
  JSON.parse(Buffer.from(part, "base64url").toString()) as Record<string, unknown>

/** Returns the refusal of a request whose token is bound, if its proof is not good. */
export const check = async (
  request: Request,
  find: (token: string) => Promise<object | undefined>
): Promise<Response | undefined> => {
  const [scheme = "", token = ""] = (request.headers.get("authorization") ?? "").split(" ")
  const found = token === "" ? undefined : await find(token)
  if (found === undefined || !("jkt" in found) || found.jkt === undefined) return undefined
  const refuse = (error: string, headers: Record<string, string> = {}) =>
    new Response("", { status: 401, headers: { "www-authenticate": `DPoP error="${error}"`, ...headers } })
  const proof = request.headers.get("dpop")
  if (scheme !== "DPoP" || proof === null) return refuse("invalid_token")
  const [head = "", body = "", signature = ""] = proof.split(".")
  const { alg, jwk } = decode(head) as { readonly alg: string; readonly jwk: Record<string, string> }
  const claims = decode(body)
  if (claims["nonce"] !== nonce) return refuse("use_dpop_nonce", { "dpop-nonce": nonce })
  const { crv, kty, x, y } = jwk
  const isGood =
    alg === "ES256" &&
    hash(JSON.stringify({ crv, kty, x, y })) === found.jkt &&
    claims["htm"] === request.method &&
    claims["htu"] === request.url &&
    claims["ath"] === hash(token) &&
    verify(
      "sha256",
      Buffer.from(`${head}.${body}`),
      { key: createPublicKey({ key: jwk, format: "jwk" }), dsaEncoding: "ieee-p1363" },
      Buffer.from(signature, "base64url")
    )
  return isGood ? undefined : refuse("invalid_dpop_proof")
}

/** For a gate that knows only bearer tokens. */
export const asBearer = (request: Request): Request => {
  const token = /^DPoP (.*)$/.exec(request.headers.get("authorization") ?? "")?.[1]
  if (token !== undefined) request.headers.set("authorization", `Bearer ${token}`)
  return request
}
