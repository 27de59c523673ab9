// Drives web SDKs through faults in a real Chromium, all scenarios at once: node faults-web.mjs < scenarios.json
// Scenarios: [{name, sdk, url, writeKey, user, skewMs}]. The pages come from another origin than the API.
import { createServer } from 'node:http'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import sparticuz from '@sparticuz/chromium'
import { chromium } from 'playwright-core'

const scenarios = JSON.parse(readFileSync(0, 'utf8'))
const modules = join(dirname(fileURLToPath(import.meta.url)), '../../../node_modules')
const folders = {
  '/segment/': join(modules, '@segment/analytics-next/dist/umd/'),
  '/rudder/': join(modules, '@rudderstack/analytics-js/dist/npm/modern/bundled/umd/'),
  '/jitsu/': join(modules, '@jitsu/js/dist/'),
}

const snippet = `var analytics = window.analytics = [];
analytics.methods = ['identify','track','page','group','alias','ready','reset'];
analytics.factory = (m) => function () { analytics.push([m, ...arguments]); return analytics };
for (const m of analytics.methods) analytics[m] = analytics.factory(m);
analytics.SNIPPET_VERSION = '5.2.1';`

// Each page ends with window.analytics; hold() resolves when the SDK is told to start.
const starts = {
  'segment-snippet': (s) => `${snippet}
analytics._writeKey = ${JSON.stringify(s.writeKey)};
analytics._cdn = ${JSON.stringify(s.url)};
document.head.append(Object.assign(document.createElement('script'), { src: '/segment/standalone.js' }));`,
  'segment-npm': (s) => `window.start = () => {
  window.analytics = AnalyticsNext.AnalyticsBrowser.load(${JSON.stringify({ writeKey: s.writeKey, cdnURL: s.url })}, ${JSON.stringify(s.options ?? {})});
};`,
  // The three lines of docs/sdks.md: hold tracking until consent, then send what waited.
  'segment-consent': (s) => `window.start = async () => {
  const analytics = window.analytics = new AnalyticsNext.AnalyticsBrowser();
  const settings = await (await fetch('${s.url}/v1/projects/${s.writeKey}/settings')).json();
  window.consent = settings.consent;
  const begin = window.allow = () => analytics.load({ writeKey: '${s.writeKey}', cdnURL: '${s.url}', cdnSettings: settings });
  if (settings.consent.default === 'granted') begin();
};`,
  rudder: (s) => `window.start = () => new Promise((resolve) => {
  window.analytics = new window.rudderanalytics.RudderAnalytics();
  window.analytics.load(${JSON.stringify(s.writeKey)}, ${JSON.stringify(s.url)}, { configUrl: ${JSON.stringify(s.url)}, ...${JSON.stringify(s.options ?? {})}, onLoaded: resolve });
});`,
  'rudder-consent': (s) => `window.start = async () => {
  const { source } = await (await fetch('${s.url}/sourceConfig?writeKey=${s.writeKey}')).json();
  window.consent = source.config.consent;
  const analytics = window.analytics = new window.rudderanalytics.RudderAnalytics();
  const held = source.config.consent.default !== 'granted';
  analytics.load('${s.writeKey}', '${s.url}', { configUrl: '${s.url}', preConsent: { enabled: held, storage: { strategy: 'none' }, events: { delivery: 'buffer' } }, consentManagement: { enabled: true, provider: 'custom' } });
  window.allow = () => analytics.consent({ consentManagement: { allowedConsentIds: Object.keys(window.consent.categories) } });
};`,
  jitsu: (s) => `window.start = async () => {
  const { jitsuAnalytics } = await import('/jitsu/jitsu.es.js');
  window.analytics = jitsuAnalytics({ host: '${s.url}', writeKey: '${s.writeKey}:x' });
};`,
}
const libraries = { 'segment-npm': '/segment/index.js', 'segment-consent': '/segment/index.js', rudder: '/rudder/index.js', 'rudder-consent': '/rudder/index.js' }

const server = createServer((request, response) => {
  const address = new URL(request.url, 'http://x')
  const folder = Object.keys(folders).find((prefix) => address.pathname.startsWith(prefix))
  const file = folder && join(folders[folder], address.pathname.slice(folder.length).replaceAll('..', ''))
  if (file && existsSync(file)) {
    response.setHeader('content-type', 'text/javascript')
    return response.end(readFileSync(file))
  }
  response.setHeader('content-type', 'text/html; charset=utf-8')
  const scenario = scenarios.find((one) => address.pathname === `/${one.name}.html`)
  if (!scenario) return response.end('<!doctype html>')
  const library = libraries[scenario.sdk] ? `<script src="${libraries[scenario.sdk]}"></script>` : ''
  response.end(`<!doctype html><meta charset="utf-8"><title>Cửa hàng</title>${library}<script>${starts[scenario.sdk](scenario)}</script>`)
})
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
const origin = `http://127.0.0.1:${server.address().port}`

const system = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync)
const flags = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run']
// In a single process, the end of one context would be the end of all; without web security there are no preflights.
const unwanted = ['--single-process', '--disable-web-security']
const browser = await chromium.launch({
  executablePath: system ?? (await sparticuz.executablePath()),
  headless: true,
  args: system ? flags : [...sparticuz.args.filter((flag) => !unwanted.includes(flag)), ...flags],
})

async function until(test, limitMs) {
  for (let waited = 0; waited < limitMs; waited += 100) {
    if (await test()) return true
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  return false
}

async function drive(scenario) {
  const context = await browser.newContext()
  const told = { delivered: [], posts: 0, preflights: [], pageErrors: [] }
  if (scenario.skewMs) {
    await context.addInitScript((skew) => {
      const Real = Date
      window.Date = class extends Real {
        constructor(...given) { given.length ? super(...given) : super(Real.now() + skew) }
        static now() { return Real.now() + skew }
      }
    }, scenario.skewMs)
  }
  const page = await context.newPage()
  page.on('pageerror', (error) => told.pageErrors.push(String(error)))
  const isEvents = (request) => request.method() === 'POST' && request.url().startsWith(scenario.url)
  page.on('request', (request) => { if (isEvents(request)) told.posts += 1 })
  page.on('response', (response) => {
    if (!isEvents(response.request()) || response.status() !== 200) return
    for (const [, name] of (response.request().postData() ?? '').matchAll(/"event":"([^"]+)"/g)) told.delivered.push(name)
  })
  const visit = async () => {
    await page.goto(`${origin}/${scenario.name}.html?utm_source=newsletter&utm_medium=email`)
    await page.evaluate(() => window.start?.())
  }
  const track = (event) => page.evaluate(([event, run]) => {
    window.analytics.track(event, { run, product_id: 'p-1', price: 500000, name: 'Váy xanh' })
  }, [event, scenario.user])
  await visit()

  if (scenario.consent) {
    await track('before consent')
    await page.waitForTimeout(1200)
    told.postsBeforeConsent = told.posts
    told.consent = await page.evaluate(() => window.consent)
    await page.evaluate(() => { window.allow() })
    await track('after consent')
    await until(() => told.delivered.includes('after consent') && told.delivered.includes('before consent'), 10000)
    await context.close()
    return told
  }

  await page.evaluate((user) => {
    analytics.page('Trang chủ', { run: user })
    analytics.track('Product Viewed', { run: user, product_id: 'p-1', price: 500000, name: 'Váy xanh' })
    analytics.identify(user, { name: 'Đỗ Văn Hải', email: `${user}@example.vn` })
    analytics.group('g-1', { name: 'Nhóm', run: user })
    analytics.alias?.(`${user}-new`)
  }, scenario.user)
  const wanted = ['Product Viewed']
  for (const event of scenario.events) { await track(event); wanted.push(event) }
  if (scenario.blind) {
    await page.waitForTimeout(scenario.blind)
    await context.close()
    return told
  }
  await until(() => wanted.every((name) => told.delivered.includes(name)), 30000)
  if (scenario.offline) {
    await context.setOffline(true)
    await track('offline')
    await page.waitForTimeout(400)
    told.deliveredOffline = told.delivered.includes('offline')
    await context.setOffline(false)
    await until(() => told.delivered.includes('offline'), 15000)
    await context.setOffline(true)
    await track('left behind')
    await page.waitForTimeout(200)
    await page.goto('about:blank')
    await context.setOffline(false)
    await visit()
    await until(() => told.delivered.includes('left behind'), 15000)
  }
  await page.waitForTimeout(300)
  await context.close()
  return told
}

const said = {}
await Promise.all(scenarios.map(async (scenario) => {
  try {
    said[scenario.name] = await drive(scenario)
  } catch (error) {
    said[scenario.name] = { broken: String(error.stack ?? error) }
  }
}))
await browser.close()
server.close()
console.log(JSON.stringify(said))
