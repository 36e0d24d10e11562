/** A collector like OpenTelemetry's: it accepts OTLP as JSON over HTTP, on a free port of this machine. */
import { Effect, type Scope } from "effect"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"

export interface Collector {
  readonly url: string
  /** Everything that arrived for `traces`, `metrics` or `logs`, unchanged. */
  readonly bodies: (signal: "traces" | "metrics" | "logs") => ReadonlyArray<string>
}

export const start: Effect.Effect<Collector, never, Scope.Scope> = Effect.acquireRelease(
  Effect.async<Collector & { readonly close: () => void }>((resume) => {
    const received = new Map<string, Array<string>>()
    const server = createServer((request, response) => {
      let body = ""
      request.on("data", (chunk: Buffer) => (body += chunk.toString()))
      request.on("end", () => {
        received.set(request.url ?? "", [...(received.get(request.url ?? "") ?? []), body])
        response.writeHead(200, { "content-type": "application/json" }).end("{}")
      })
    })
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo
      resume(
        Effect.succeed({
          url: `http://127.0.0.1:${port}`,
          bodies: (signal) => received.get(`/v1/${signal}`) ?? [],
          close: () => server.close()
        })
      )
    })
  }),
  ({ close }) => Effect.sync(close)
)
