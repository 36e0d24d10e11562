/** Reformats the parser's help for a terminal. */

/** Lines that repeat the usage, or have no content. */
const needless = new Set([
  "A user-defined piece of text.",
  "A true or false value.",
  "This setting is optional.",
  "This option may be repeated zero or more times.",
  "This argument may be repeated zero or more times."
])

/**
 * The usage begins with the program's name. Commands are a list of names, because the usage of each is in its
 * own help. An option and its description are on one line.
 */
export const tidy = (help: string, command: string | undefined): string =>
  help
    .trimEnd()
    .split("\n\n")
    .filter((paragraph) => !needless.has(paragraph.trim()))
    .map((paragraph) => usage(listed(paragraph), command))
    .map((paragraph) => (paragraph.startsWith("  ") ? `\n${paragraph}` : `\n\n${paragraph}`))
    .join("")
    .trimStart()
    .concat(examplesOf(command))

const listed = (paragraph: string): string =>
  paragraph.replace(
    /^ {2}- (\S+).*? {2,}(\S.*)$/,
    (_, name: string, does: string) => `  ${name.padEnd(12)}${does}`
  )

const usage = (paragraph: string, command: string | undefined): string =>
  paragraph === "$ latchkey"
    ? "$ latchkey COMMAND, and latchkey COMMAND --help for its options"
    : command !== undefined && paragraph.startsWith(`$ ${command}`)
      ? `$ latchkey ${paragraph.slice(2)}`
      : paragraph

/** What people type most, by command; the first list is that of `latchkey --help`. */
const examples: Readonly<Record<string, ReadonlyArray<string>>> = {
  "": [
    "latchkey login github --client-id MY-APP",
    'curl -H "$(latchkey token github --header)" https://api.github.com/user',
    "latchkey exec github -- ./deploy.sh",
    "latchkey list --watch",
    "latchkey doctor"
  ],
  login: [
    "latchkey login github --client-id MY-APP --account work",
    "latchkey login acme --issuer https://id.example.com --client-id my-app --scope offline_access",
    "echo CODE | latchkey login claude --manual"
  ],
  token: [
    "latchkey token github",
    'curl -H "$(latchkey token github/work --header)" https://api.github.com/user',
    "latchkey token github --min-validity 10m --json",
    "latchkey token acme --format header-json"
  ],
  exec: ["latchkey exec github -- ./deploy.sh", "latchkey exec github --env GH_TOKEN -- gh repo list"],
  status: ["latchkey status github/work", "latchkey status --json", "latchkey status --web"],
  list: ["latchkey list", "latchkey list --watch"],
  refresh: ["latchkey refresh github"],
  explain: ["latchkey explain github"],
  logout: ["latchkey logout github", "latchkey logout github --local"],
  doctor: ["latchkey doctor", "latchkey doctor --json"],
  import: ["latchkey import claude", "latchkey import codex ~/backup/auth.json --account old"],
  export: ["latchkey export claude/work ./credentials.json"],
  setup: [
    "latchkey setup git github",
    "latchkey setup docker github --host ghcr.io --write",
    "latchkey setup kubectl acme --write",
    "latchkey setup bazel acme --host cache.example.com"
  ],
  mcp: [
    "latchkey mcp login https://mcp.example.com/mcp",
    "latchkey token mcp:https://mcp.example.com/mcp",
    "latchkey mcp proxy https://mcp.example.com/mcp"
  ],
  agent: ["latchkey agent --account github/work", "latchkey agent --config agent.json"],
  proxy: ["latchkey proxy --account github/work --to https://api.github.com --port 8484"],
  credential: [
    "printf 'protocol=https\\nhost=github.com\\n\\n' | latchkey credential git --for github.com=github get",
    "echo ghcr.io | latchkey credential docker --for ghcr.io=github get"
  ]
}

const examplesOf = (command: string | undefined): string => {
  const lines = examples[command?.startsWith("-") === false ? command : ""] ?? []
  return lines.length === 0 ? "" : `\n\nEXAMPLES\n\n${lines.map((line) => `$ ${line}`).join("\n")}`
}
