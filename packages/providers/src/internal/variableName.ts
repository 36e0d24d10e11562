/** Returns the variable of a setting: `LATCHKEY_CLAUDE_SERVER_TOKEN_ENDPOINT`. */
export const variableName = (id: string, path: ReadonlyArray<string>): string =>
  ["LATCHKEY", id, ...path.map((key) => key.replace(/[A-Z]/g, "_$&"))]
    .join("_")
    .replaceAll("-", "_")
    .toUpperCase()
