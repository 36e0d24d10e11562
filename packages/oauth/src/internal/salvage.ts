/** Finds a member of a body that is not the JSON object that it should be. */
import { fieldOf } from "./form.js"
import { topLevelString } from "./jsonPrefix.js"

/**
 * Returns possible values of a member `name` at the top of a body, the most certain first: from JSON with
 * something before or after it, in a string, escaped for HTML, or cut off; from a form. `adapt` finds it if
 * only the settings know where it is.
 */
export const membersOf = (
  text: string,
  name: string,
  options: {
    readonly isWhole: boolean
    readonly adapt: (body: Readonly<Record<string, unknown>>) => Readonly<Record<string, unknown>>
  }
): ReadonlyArray<unknown> => {
  const texts = [text, ...unescaped(text)]
  return [
    ...texts
      .flatMap(objectIn)
      .flatMap((object) => [options.adapt(object), object])
      .map((object) => (Object.hasOwn(object, name) ? object[name] : undefined)),
    ...texts.map((each) => topLevelString(each, name)),
    fieldOf(text, name, options.isWhole)
  ].filter((value) => value !== undefined)
}

/** Returns the object between a text's first and last brace. */
const objectIn = (text: string): ReadonlyArray<Readonly<Record<string, unknown>>> => {
  try {
    const value: unknown = JSON.parse(text.slice(text.indexOf("{"), text.lastIndexOf("}") + 1))
    return typeof value === "object" && value !== null ? [value as Readonly<Record<string, unknown>>] : []
  } catch {
    return []
  }
}

/** JSON inside a JSON string, or inside a page. */
const unescaped = (text: string): ReadonlyArray<string> => [
  ...(/^\s*"/.test(text) ? [text.replace(/\\(["\\/])/g, "$1")] : []),
  ...(/&(quot|#34|#x22);/i.test(text)
    ? [text.replace(/&(quot|#34|#x22);/gi, '"').replaceAll("&amp;", "&")]
    : [])
]
