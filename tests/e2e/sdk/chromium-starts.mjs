// Exits 0 when a Chromium (the system's, else the one of the npm package) starts here.
import { existsSync } from 'node:fs'
import sparticuz from '@sparticuz/chromium'
import { chromium } from 'playwright-core'

const system = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync)
const browser = await chromium.launch({
  executablePath: system ?? (await sparticuz.executablePath()),
  headless: true,
  args: system ? ['--no-sandbox', '--disable-gpu'] : sparticuz.args,
})
console.log(browser.version())
await browser.close()
