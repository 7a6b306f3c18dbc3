# label: denied-by-registry
#---
pip install --no-input --index-url $REGISTRY/status/401 beta
