import { search } from "./Search.js"
const base = { server: "strict", processes: 2, faults: 0, asks: 1, forced: false, deeds: 0, ticks: 0, skew: 0, token: "expired" } as const
for (const more of [{faults:2},{faults:1,ticks:1},{faults:1,deeds:1},{deeds:1,forced:true,token:"in grace"},{skew:7200000,faults:1},{faults:1,server:"reusable",ticks:1}] as const) {
  const f = search({ ...base, ...more }, 40000)
  console.log(JSON.stringify(more), JSON.stringify({ ...f, broken: f.broken?.what }))
  for (const [i, h] of (f.broken?.history ?? []).entries()) console.log(`  ${i+1}. ${h}`)
}
