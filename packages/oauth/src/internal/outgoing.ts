import * as HttpBody from "@effect/platform/HttpBody"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type { HttpMethod } from "@effect/platform/HttpMethod"

/** A request to send, in the form that `fetch` takes. */
export interface Outgoing {
  readonly method: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | URLSearchParams | undefined
  readonly asJson: boolean
}

/** Converts the request to the platform's form. */
export const toRequest = (url: string, outgoing: Outgoing): HttpClientRequest.HttpClientRequest => {
  const body =
    outgoing.body instanceof URLSearchParams && outgoing.asJson ? toJson(outgoing.body) : outgoing.body
  const contentType = outgoing.asJson ? "application/json" : outgoing.headers["content-type"]
  return HttpClientRequest.make(outgoing.method as HttpMethod)(url, {
    // Most clients do not undo a content coding, and a new refresh token may be in the response.
    headers: { "accept-encoding": "identity", ...outgoing.headers },
    ...(body !== undefined && { body: hiddenBody(String(body), contentType) })
  })
}

const toJson = (form: URLSearchParams): string =>
  JSON.stringify(
    Object.fromEntries(
      [...new Set(form.keys())].map((name) => {
        const values = form.getAll(name)
        return [name, values.length === 1 ? values[0] : values]
      })
    )
  )

/** The platform shows a JSON or text body when a request is inspected, for example inside a failed span. */
const hiddenBody = (text: string, contentType: string | undefined): HttpBody.HttpBody => {
  const hidden = () => ({ _id: "@effect/platform/HttpBody", _tag: "Uint8Array", body: "<redacted>" })
  return Object.assign(HttpBody.text(text, contentType), { toJSON: hidden })
}

/** Parameters that the server knows anyway and may quote in an error. */
const publicParameters = new Set([
  "grant_type",
  "client_id",
  "scope",
  "resource",
  "audience",
  "redirect_uri",
  "client_assertion_type",
  "token_type_hint",
  "subject_token_type",
  "actor_token_type",
  "requested_token_type"
])

/** Returns the secrets in the request, which no error may repeat. */
export const secretsOf = ({ body, headers }: Outgoing): ReadonlyArray<string> => {
  const [scheme = "", credentials = ""] = (headers["authorization"] ?? "").split(" ", 2)
  return [
    credentials,
    ...(scheme === "Basic" ? basicSecrets(credentials) : []),
    ...(body instanceof URLSearchParams
      ? [...body].filter(([name]) => !publicParameters.has(name)).map(([, value]) => value)
      : [])
  ]
}

/** Either each half was form-encoded before they were joined (RFC 6749 §2.3.1), or neither. */
const basicSecrets = (credentials: string): ReadonlyArray<string> => {
  const bytes = Uint8Array.from(atob(credentials), (character) => character.charCodeAt(0))
  const secret = new TextDecoder().decode(bytes).replace(/^[^:]*:/, "")
  return [secret, new URLSearchParams(`secret=${secret}`).get("secret") ?? ""]
}
