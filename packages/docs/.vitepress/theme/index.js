import DefaultTheme from "vitepress/theme"
import { Recording } from "./Recording.js"
import "./style.css"

export default {
  extends: DefaultTheme,
  enhanceApp: ({ app }) => app.component("Recording", Recording)
}
