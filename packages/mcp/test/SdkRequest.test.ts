/** The signal that the SDK gives to an `OAuthClientProvider`. */
import { describe, expect, it } from "vitest"
import * as SdkRequest from "../src/internal/sdkRequest.js"

const urlFor = (scope: string | undefined): URL => {
  const url = new URL("https://auth.example.com/authorize?response_type=code")
  if (scope !== undefined) url.searchParams.set("scope", scope)
  return url
}

describe("an authorization URL", () => {
  const supported = { resourceMetadata: { scopes_supported: ["a", "b"] } }
  it.each<[string | undefined, SdkRequest.Discovered | undefined, string | undefined]>([
    [undefined, undefined, undefined],
    ["", undefined, undefined],
    ["a", undefined, 'Bearer scope="a"'],
    ["a b", { resourceMetadata: {} }, 'Bearer scope="a b"'],
    ["a b", supported, undefined],
    ["b a", supported, 'Bearer scope="b a"'],
    ["a", supported, 'Bearer scope="a"'],
    ['a" b\\ c', undefined, 'Bearer scope="c"'],
    [
      undefined,
      { resourceMetadataUrl: 'https://mcp.example.com/"x' },
      'Bearer resource_metadata="https://mcp.example.com/%22x"'
    ],
    ["a", { resourceMetadataUrl: "no URL" }, 'Bearer scope="a"'],
    [
      "a b",
      { ...supported, resourceMetadataUrl: "https://mcp.example.com/x" },
      'Bearer resource_metadata="https://mcp.example.com/x"'
    ]
  ])(
    "with the scopes %j, after the discovery of %j, is after a 401 with %s",
    (scope, discovered, challenge) => {
      expect(SdkRequest.read(urlFor(scope), discovered)).toEqual({ isStepUp: false, challenge })
    }
  )

  it("with the mark is a step-up, and the mark goes no further", () => {
    expect(SdkRequest.read(urlFor(`a ${SdkRequest.stepUpMark} b`), supported)).toEqual({
      isStepUp: true,
      challenge: 'Bearer error="insufficient_scope", scope="a b"'
    })
  })
})
