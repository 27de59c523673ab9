// Drives web SDKs in a real Chromium: node browser.mjs URL WRITE_KEY USER (segment|rudder) [screenshot.png]
// The page comes from another origin than the API, so that every call is a real cross-origin one with preflights.
import { createServer } from 'node:http'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import sparticuz from '@sparticuz/chromium'
import { chromium } from 'playwright-core'

const [url, writeKey, user, sdk, screenshot] = process.argv.slice(2)
const modules = join(dirname(fileURLToPath(import.meta.url)), '../../../node_modules')
const folders = {
  '/segment/': join(modules, '@segment/analytics-next/dist/umd/'),
  '/rudder/': join(modules, '@rudderstack/analytics-js/dist/npm/modern/bundled/umd/'),
}

const segmentPage = `<!doctype html><meta charset="utf-8"><title>Cửa hàng</title><h1>Váy xanh</h1><script>
var analytics = window.analytics = [];
analytics.methods = ['identify','track','page','group','alias','ready','reset'];
analytics.factory = (m) => function () { analytics.push([m, ...arguments]); return analytics };
for (const m of analytics.methods) analytics[m] = analytics.factory(m);
analytics._writeKey = ${JSON.stringify(writeKey)};
analytics._cdn = ${JSON.stringify(url)};
analytics.SNIPPET_VERSION = '5.2.1';
</script><script src="/segment/standalone.js" async></script>`

const rudderPage = `<!doctype html><meta charset="utf-8"><title>Cửa hàng</title><h1>Váy xanh</h1><script src="/rudder/index.js"></script>`

const server = createServer((request, response) => {
  const path = new URL(request.url, 'http://x').pathname
  const folder = Object.keys(folders).find((prefix) => path.startsWith(prefix))
  const file = folder && join(folders[folder], path.slice(folder.length).replaceAll('..', ''))
  if (file && existsSync(file)) {
    response.setHeader('content-type', 'text/javascript')
    response.end(readFileSync(file))
  } else {
    response.setHeader('content-type', 'text/html; charset=utf-8')
    response.end(path === '/rudder.html' ? rudderPage : segmentPage)
  }
})
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
const origin = `http://127.0.0.1:${server.address().port}`

const system = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync)
const executablePath = system ?? (await sparticuz.executablePath())
const flags = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run']
const browser = await chromium.launch({ executablePath, headless: true, args: system ? flags : [...sparticuz.args.filter((flag) => flag !== '--disable-web-security'), ...flags] })
const page = await browser.newPage()
const problems = []
page.on('pageerror', (error) => problems.push(String(error)))
page.on('requestfailed', (request) => problems.push(`${request.url()} ${request.failure()?.errorText}`))
const answers = []
page.on('response', (response) => {
  if (response.url().startsWith(url) && response.request().method() === 'POST') answers.push(response.status())
})

if (sdk === 'segment') {
  await page.goto(`${origin}/?utm_source=newsletter&utm_medium=email`)
  await page.waitForFunction(() => window.analytics.initialized === true)
  await page.evaluate(async (user) => {
    await analytics.page('Trang chủ')
    await analytics.track('Product Viewed', { product_id: 'p-1', price: 500000, name: 'Váy xanh' })
    await analytics.identify(user, { name: 'Đỗ Văn Hải', email: `${user}@example.vn` })
    await analytics.group('g-1', { name: 'Nhóm' })
  }, user)
} else {
  await page.goto(`${origin}/rudder.html?utm_source=newsletter&utm_medium=email`)
  await page.evaluate(async ([url, writeKey, user]) => {
    const analytics = (window.analytics = new window.rudderanalytics.RudderAnalytics())
    await new Promise((resolve) => {
      analytics.load(writeKey, url, { configUrl: url, onLoaded: resolve })
    })
    analytics.page('Trang chủ')
    analytics.track('Product Viewed', { product_id: 'p-1', price: 500000, name: 'Váy xanh' })
    analytics.identify(user, { name: 'Đỗ Văn Hải', email: `${user}@example.vn` })
    analytics.group('g-1', { name: 'Nhóm' })
  }, [url, writeKey, user])
}
const answered = async (count) => {
  for (let waited = 0; answers.length < count && waited < 15000; waited += 200) await page.waitForTimeout(200)
}
// each request brings its own clock correction: one that overtakes another on the way would count as the earlier
await answered(4)
await page.evaluate((user) => { analytics.alias(`${user}-new`) }, user)
await answered(5)
if (screenshot) await page.screenshot({ path: screenshot })
const version = browser.version()
await browser.close()
server.close()
console.log(JSON.stringify({ answers, problems, version }))
