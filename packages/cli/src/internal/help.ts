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

const listed = (paragraph: string): string =>
  paragraph.replace(
    /^ {2}- (\S+).*? {2,}(\S.*)$/,
    (_, name: string, does: string) => `  ${name.padEnd(9)}${does}`
  )

const usage = (paragraph: string, command: string | undefined): string =>
  paragraph === "$ latchkey"
    ? "$ latchkey COMMAND, and latchkey COMMAND --help for what it takes"
    : command !== undefined && paragraph.startsWith(`$ ${command}`)
      ? `$ latchkey ${paragraph.slice(2)}`
      : paragraph
