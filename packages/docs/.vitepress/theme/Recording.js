/*
 * The recorded output of `npm start`, line by line as it came: each line begins with the second at which it was
 * printed. All of it is in the page from the start, for readers without JavaScript or who want less motion.
 */
import { defineComponent, h, onBeforeUnmount, onMounted, ref } from "vue"
import recorded from "../../recording.txt?raw"

const lines = recorded.trimEnd().split("\n")
const isScene = (line) => /^\d\. /.test(line)
/** Longer waits than this are cut short. */
const longest = 1200

/** The wait before each line, in milliseconds. */
const waits = () => {
  let last = 0
  return lines.map((line, index) => {
    const second = Number(/^ +(\d+\.\d) s {2}/.exec(line)?.[1] ?? last)
    const wait = Math.min((second - last) * 1000, longest)
    last = second
    if (isScene(line)) return 700
    return Math.max(wait, lines[index - 1] === "" || line === "" ? 0 : 120)
  })
}

const kindOf = (line) => {
  if (isScene(line)) return "scene"
  if (/^ {2}ok /.test(line)) return "ok"
  return /^ +\d+\.\d s {2}/.test(line) ? "step" : "text"
}

export const Recording = defineComponent(() => {
  const shown = ref(lines.length)
  const box = ref()
  let timer
  let observer
  const stop = () => {
    clearTimeout(timer)
    observer?.disconnect()
  }
  const play = () => {
    stop()
    const pauses = waits()
    const next = () => {
      shown.value++
      if (shown.value < lines.length) timer = setTimeout(next, pauses[shown.value])
    }
    shown.value = 0
    next()
  }
  const showAll = () => {
    stop()
    shown.value = lines.length
  }
  onMounted(() => {
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return
    observer = new IntersectionObserver(([entry]) => entry.isIntersecting && play(), { threshold: 0.3 })
    observer.observe(box.value)
  })
  onBeforeUnmount(stop)
  return () =>
    h("div", { class: "recording", ref: box }, [
      h("div", { class: "bar" }, [
        h("code", "$ npm start"),
        shown.value < lines.length
          ? h("button", { type: "button", onClick: showAll }, "Show all")
          : h("button", { type: "button", onClick: play }, "Play")
      ]),
      h(
        "pre",
        { tabindex: 0 },
        lines.map((line, index) =>
          h("span", { class: ["line", kindOf(line), index < shown.value ? "" : "to-come"] }, `${line}\n`)
        )
      )
    ])
})
