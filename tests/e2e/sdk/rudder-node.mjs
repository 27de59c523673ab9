// Drives @rudderstack/rudder-sdk-node (gzip, form-urlencoded): node rudder-node.mjs URL WRITE_KEY USER
import Analytics from '@rudderstack/rudder-sdk-node'

const [url, writeKey, user] = process.argv.slice(2)
const analytics = new Analytics(writeKey, { dataPlaneUrl: url, flushAt: 3 })
analytics.identify({ userId: user, traits: { name: 'Phạm Thị Dung', email: `${user}@example.vn` } })
analytics.track({ userId: user, event: 'Product Viewed', properties: { product_id: 'p-1', price: 500000, name: 'Váy xanh' } })
analytics.page({ userId: user, name: 'Trang chủ', properties: { path: '/' } })
analytics.screen({ userId: user, name: 'Giỏ hàng' })
analytics.group({ userId: user, groupId: 'g-1', traits: { name: 'Nhóm' } })
analytics.alias({ userId: `${user}-new`, previousId: user })
analytics.flush((error) => setTimeout(() => process.exit(error ? 1 : 0), 1500))
