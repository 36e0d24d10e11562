import { describe, expect, it } from "@effect/vitest"
import { Endpoint, Server } from "@latchkey/oauth"
import { Effect, Either } from "effect"
import { networkOf, type Network } from "../src/internal/network.js"
import { answering } from "./Memory.js"

const hostOf = (host: string) => new URL(`https://${host}/`).hostname

describe("the network of a host", () => {
  it.each<readonly [host: string, Network]>([
    ["auth.example.com", "public"],
    ["auth.example.com.", "public"],
    ["8.8.8.8", "public"],
    ["126.255.255.255", "public"],
    ["128.0.0.0", "public"],
    ["11.0.0.1", "public"],
    ["172.15.255.255", "public"],
    ["172.32.0.0", "public"],
    ["192.167.255.255", "public"],
    ["192.169.0.0", "public"],
    ["169.253.255.255", "public"],
    ["100.63.255.255", "public"],
    ["100.128.0.0", "public"],
    ["223.255.255.255", "public"],
    ["[2606:4700::1111]", "public"],
    ["[2a00:1450:4001::200e]", "public"],
    ["[64:ff9b::808:808]", "public"],
    ["localhost", "loopback"],
    ["LOCALHOST.", "loopback"],
    ["redis.localhost", "loopback"],
    ["127.0.0.1", "loopback"],
    ["127.255.255.255", "loopback"],
    ["127.1", "loopback"],
    ["2130706433", "loopback"],
    ["0x7f000001", "loopback"],
    ["0177.0.0.1", "loopback"],
    ["127.0.0.1.", "loopback"],
    ["[::1]", "loopback"],
    ["[0:0:0:0:0:0:0:1]", "loopback"],
    ["[::ffff:127.0.0.1]", "loopback"],
    ["[::ffff:7f00:1]", "loopback"],
    ["[::127.0.0.1]", "loopback"],
    ["[::ffff:0:127.0.0.1]", "loopback"],
    ["[64:ff9b::127.0.0.1]", "loopback"],
    ["[2002:7f00:1::]", "loopback"],
    ["169.254.169.254", "linkLocal"],
    ["0xa9fea9fe", "linkLocal"],
    ["[fe80::1]", "linkLocal"],
    ["[febf:ffff::1]", "linkLocal"],
    ["[::ffff:169.254.169.254]", "linkLocal"],
    ["10.0.0.1", "private"],
    ["10.255.255.255", "private"],
    ["172.16.0.1", "private"],
    ["172.31.255.255", "private"],
    ["192.168.0.1", "private"],
    ["100.64.0.1", "private"],
    ["100.127.255.255", "private"],
    ["[fc00::1]", "private"],
    ["[fd00:ec2::254]", "private"],
    ["[fec0::1]", "private"],
    ["[::ffff:10.0.0.1]", "private"],
    ["[64:ff9b:1::1]", "private"],
    ["metadata.google.internal", "private"],
    ["printer.local", "private"],
    ["router.home.arpa", "private"],
    ["keycloak", "private"],
    ["0.0.0.0", "reserved"],
    ["0", "reserved"],
    ["[::]", "reserved"],
    ["[::ffff:0.0.0.0]", "reserved"],
    ["192.0.0.192", "reserved"],
    ["198.18.0.1", "reserved"],
    ["224.0.0.1", "reserved"],
    ["255.255.255.255", "reserved"],
    ["[ff02::1]", "reserved"],
    ["[2001:db8::1]", "reserved"],
    ["[2001::1]", "reserved"]
  ])("%s is %s", (host, network) => {
    expect(networkOf(hostOf(host))).toBe(network)
  })
})

const publicIssuer = "https://auth.example.com"

describe("an endpoint that metadata names", () => {
  const accepts = (endpoint: string, issuer: string, allowPrivate = false) =>
    Either.isRight(Endpoint.checkDiscovered("token_endpoint", endpoint, new URL(issuer), { allowPrivate }))

  it.each<readonly [endpoint: string, issuer: string, byDefault: boolean, whenAllowed: boolean]>([
    ["https://token.example.net/t", publicIssuer, true, true],
    ["http://token.example.net/t", publicIssuer, false, false],
    ["http://127.0.0.1:6379", publicIssuer, false, false],
    ["http://localhost:6379", publicIssuer, false, false],
    ["http://[::1]:6379/t", publicIssuer, false, false],
    ["http://2130706433/t", publicIssuer, false, false],
    ["https://127.0.0.1/t", publicIssuer, false, true],
    ["https://169.254.169.254/latest", publicIssuer, false, true],
    ["https://[::ffff:169.254.169.254]/latest", publicIssuer, false, true],
    ["https://10.1.2.3/t", publicIssuer, false, true],
    ["https://metadata.google.internal/t", publicIssuer, false, true],
    ["https://0.0.0.0/t", publicIssuer, false, true],
    ["http://10.1.2.3/t", publicIssuer, false, false],
    ["http://127.0.0.1:8080/t", "http://127.0.0.1:8080", true, true],
    ["http://localhost:9090/t", "http://127.0.0.1:8080", true, true],
    ["http://127.0.0.1:8080/t", "https://localhost", true, true],
    ["https://token.example.net/t", "http://localhost:8080", true, true],
    ["https://10.1.2.3/t", "http://localhost:8080", false, true],
    ["https://192.168.1.1/t", "https://10.1.2.3", true, true],
    ["https://10.1.2.3/t", "https://auth.corp.internal", true, true],
    ["https://169.254.169.254/t", "https://10.1.2.3", false, true],
    ["http://127.0.0.1:6379/t", "https://10.1.2.3", false, false],
    ["https://user@10.1.2.3/t", "https://10.1.2.3", false, false]
  ])(
    "%s of the issuer %s: %s, and %s where private ones are allowed",
    (endpoint, issuer, byDefault, allowed) => {
      expect([accepts(endpoint, issuer), accepts(endpoint, issuer, true)]).toEqual([byDefault, allowed])
    }
  )

  const fields = [
    "token_endpoint",
    "authorization_endpoint",
    "device_authorization_endpoint",
    "revocation_endpoint",
    "introspection_endpoint",
    "userinfo_endpoint",
    "pushed_authorization_request_endpoint",
    "jwks_uri"
  ] as const

  const discover = (
    field: (typeof fields)[number],
    endpoint: string,
    options: Partial<Server.Discovery> = {}
  ) =>
    Effect.flatMap(Server.make({ issuer: publicIssuer, ...options }), (server) => server.metadata).pipe(
      Effect.flatMap((metadata) => Server.endpoint(metadata, field)),
      Effect.provide(
        answering({
          body: { issuer: publicIssuer, token_endpoint: `${publicIssuer}/token`, [field]: endpoint }
        }).layer
      )
    )

  it.effect.each(fields)(
    "as %s on this machine is refused where it is used, and the error says what to do (F57)",
    (field) =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(discover(field, "http://127.0.0.1:6379"))
        expect(error.message).toContain(field)
        expect(error.message).toContain("http://127.0.0.1:6379")
        const address = yield* Effect.flip(discover(field, "https://169.254.169.254/"))
        expect(address.message).toContain("allowPrivateEndpoints")
        const allowed = yield* discover(field, "https://169.254.169.254/", { allowPrivateEndpoints: true })
        expect(allowed).toBe("https://169.254.169.254/")
      })
  )
})
