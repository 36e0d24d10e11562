import { describe, expect, it } from "@effect/vitest"
import { Queue } from "../src/internal/Queue.js"

describe("a queue", () => {
  it("gives what came first, less what was taken out, like a plain list", () => {
    const queue = new Queue<number>()
    let list: ReadonlyArray<number> = []
    let draw = 7
    for (let i = 0; i < 20_000; i++) {
      draw = (draw * 48_271) % 2_147_483_647
      const what = draw % 10
      if (what < 5) {
        queue.add(i)
        list = [...list, i]
      } else if (what < 8) {
        expect(queue.take()).toBe(list[0])
        list = list.slice(1)
      } else {
        const some = list[draw % (list.length + 1)] ?? -1
        expect(queue.delete(some)).toBe(list.includes(some))
        list = list.filter((item) => item !== some)
      }
      expect(queue.size).toBe(list.length)
    }
    expect(list.length).toBe(queue.size)
  })
})
