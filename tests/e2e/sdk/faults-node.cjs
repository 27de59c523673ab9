// Drives a server SDK through faults: node faults-node.cjs URL WRITE_KEY USER (segment|segment-legacy|rudder|react-native)
// Each event names the fault that the proxy makes of it; each is flushed by itself, for each costs one retry.
const [url, writeKey, user, sdk] = process.argv.slice(2)
const events = ['fault 429', 'fault 500', 'fault lost', 'fault cut']
const properties = { run: user, product_id: 'p-1', price: 500000, name: 'Váy xanh' }
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

async function segment() {
  const { Analytics } = require('@segment/analytics-node')
  const analytics = new Analytics({ writeKey, host: url, flushAt: 1 })
  for (const event of events) analytics.track({ userId: user, event, properties })
  await analytics.closeAndFlush({ timeout: 20000 })
}

async function classic(Analytics, options) {
  const analytics = new Analytics(writeKey, options)
  for (const event of events) {
    // called when the batch of this event was answered, after all its retries
    await new Promise((resolve, reject) => {
      analytics.track({ userId: user, event, properties }, (error) => (error ? reject(error) : resolve()))
    })
  }
}

async function reactNative() {
  const { createClient } = require('@segment/analytics-react-native')
  const kept = new Map()
  const client = createClient({
    writeKey, proxy: `${url}/v1`, cdnProxy: `${url}/v1`, useSegmentEndpoints: true, allowInsecureProxy: true,
    trackAppLifecycleEvents: false, flushAt: 1000, flushInterval: 0,
    logger: { info() {}, warn() {}, error() {} },
    storePersistor: { get: async (key) => kept.get(key), set: async (key, state) => { kept.set(key, structuredClone(state)) } },
  })
  while (!client.isReady.value) await wait(50)
  await client.identify(user, { name: 'Lý Thị Hoa', email: `${user}@example.vn` })
  await client.track('Product Viewed', properties)
  await client.screen('Giỏ hàng', { run: user })
  await client.group('g-1', { name: 'Nhóm' })
  for (const event of events) await client.track(event, properties)
  await client.alias(`${user}-new`)
  for (let tries = 0; tries < 60 && (await client.pendingEvents()) > 0; tries++) {
    await client.flush()
    await wait(250)
  }
  process.exitCode = (await client.pendingEvents()) ? 1 : 0
}

const drivers = {
  segment,
  'segment-legacy': () => classic(require('analytics-node'), { host: url, flushAt: 1 }),
  rudder: () => classic(require('@rudderstack/rudder-sdk-node').default ?? require('@rudderstack/rudder-sdk-node'), { dataPlaneUrl: url, flushAt: 1 }),
  'react-native': reactNative,
}
drivers[sdk]().then(() => process.exit(), (error) => { console.error(error); process.exit(1) })
