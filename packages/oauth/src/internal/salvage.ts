/** A member of a body that is not the JSON object that it should be. */
import { fieldOf } from "./form.js"
import { topLevelString } from "./jsonPrefix.js"

/**
 * What may be the value of a member `name` at the top of a body, the surest first: of JSON with something before or
 * after it, in a string, escaped for HTML, or cut off; of a form. `adapt` finds it where only the settings know.
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

/** The object that a text holds between its first and its last brace. */
const objectIn = (text: string): ReadonlyArray<Readonly<Record<string, unknown>>> => {
  try {
    const value: unknown = JSON.parse(text.slice(text.indexOf("{"), text.lastIndexOf("}") + 1))
    return typeof value === "object" && value !== null ? [value as Readonly<Record<string, unknown>>] : []
  } catch {
    return []
  }
}

/** JSON that was made a string of JSON, or a part of a page. */
const unescaped = (text: string): ReadonlyArray<string> => [
  ...(/^\s*"/.test(text) ? [text.replace(/\\(["\\/])/g, "$1")] : []),
  ...(/&(quot|#34|#x22);/i.test(text)
    ? [text.replace(/&(quot|#34|#x22);/gi, '"').replaceAll("&amp;", "&")]
    : [])
]
