# label: package-missing|denied-by-registry
#---
pip install --no-input --index-url $REGISTRY/status/403/simple beta
