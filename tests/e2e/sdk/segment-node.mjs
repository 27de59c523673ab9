// Drives @segment/analytics-node: node segment-node.mjs URL WRITE_KEY USER
import { Analytics } from '@segment/analytics-node'

const [url, writeKey, user] = process.argv.slice(2)
const analytics = new Analytics({ writeKey, host: url, flushAt: 5 })
analytics.identify({ userId: user, traits: { name: 'Trần Thị Bình', email: `${user}@example.vn` } })
analytics.track({ userId: user, event: 'Product Viewed', properties: { product_id: 'p-1', price: 500000, name: 'Váy xanh' } })
analytics.page({ userId: user, name: 'Trang chủ', properties: { path: '/' } })
analytics.screen({ userId: user, name: 'Giỏ hàng' })
analytics.group({ userId: user, groupId: 'g-1', traits: { name: 'Nhóm' } })
analytics.alias({ userId: `${user}-new`, previousId: user })
await analytics.closeAndFlush({ timeout: 10000 })
