/** An `HttpClient` that answers from memory, and keeps its requests. */
import { HttpClient, HttpClientResponse } from "@effect/platform"
import { Effect, Layer } from "effect"

export interface Reply {
  readonly status?: number
  readonly headers?: Record<string, string>
  /** A value is sent as JSON, a string and bytes as they are. */
  readonly body?: unknown
}

export interface Asked {
  readonly method: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** Replies in order; the last one again and again. */
export const answering = (
  ...replies: ReadonlyArray<Reply | ((asked: Asked) => Reply)>
): { readonly asked: Array<Asked>; readonly layer: Layer.Layer<HttpClient.HttpClient> } => {
  const asked: Array<Asked> = []
  const client = HttpClient.make((request, url) =>
    Effect.sync(() => {
      const sent = request.body._tag === "Uint8Array" ? new TextDecoder().decode(request.body.body) : ""
      const seen: Asked = {
        method: request.method,
        url: url.href,
        headers: { ...request.headers },
        body: sent
      }
      const next = replies[Math.min(asked.length, replies.length - 1)]
      asked.push(seen)
      const reply = typeof next === "function" ? next(seen) : (next ?? {})
      const asIs = typeof reply.body === "string" || reply.body instanceof Uint8Array
      const body = asIs ? (reply.body as string | Uint8Array<ArrayBuffer>) : JSON.stringify(reply.body)
      const headers = { "content-type": "application/json", ...reply.headers }
      return HttpClientResponse.fromWeb(request, new Response(body, { status: reply.status ?? 200, headers }))
    })
  )
  return { asked, layer: Layer.succeed(HttpClient.HttpClient, client) }
}
