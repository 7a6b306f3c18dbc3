# label: rate-limited
#---
curl -fsS $REGISTRY/status/429/api
