"""Drives rudder-sdk-python (gzip, traits only in the context): python rudder_python.py URL WRITE_KEY USER"""

import sys

import rudderstack.analytics as analytics

url, write_key, user = sys.argv[1:4]
analytics.write_key = write_key
analytics.dataPlaneUrl = url
analytics.identify(user, {"name": "Vũ Thị Giang", "email": f"{user}@example.vn"})
analytics.track(user, "Product Viewed", {"product_id": "p-1", "price": 500000, "name": "Váy xanh"})
analytics.page(user, "", "Trang chủ", {"path": "/"})
analytics.screen(user, "", "Giỏ hàng")
analytics.group(user, "g-1", {"name": "Nhóm"})
analytics.alias(user, f"{user}-new")
analytics.shutdown()
