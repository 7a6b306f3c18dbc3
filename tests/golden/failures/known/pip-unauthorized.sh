# label: denied-by-registry
#---
pip download --no-input --index-url $REGISTRY/status/401/simple beta
