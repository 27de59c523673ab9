"""Drives a Python SDK through faults: python faults_python.py URL WRITE_KEY USER (segment|rudder)

Each event names the fault that the proxy makes of it; each is flushed by itself, for each costs one retry.
"""

import sys

url, write_key, user, sdk = sys.argv[1:5]
if sdk == "segment":
    import segment.analytics as analytics

    analytics.host = url
else:
    import rudderstack.analytics as analytics

    analytics.dataPlaneUrl = url
analytics.write_key = write_key
properties = {"run": user, "product_id": "p-1", "price": 500000, "name": "Váy xanh"}
for event in ("fault 429", "fault 500", "fault lost", "fault cut"):
    analytics.track(user, event, properties)
    analytics.flush()
analytics.shutdown()
