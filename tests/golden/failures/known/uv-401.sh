# label: denied-by-registry
#---
UV_HTTP_RETRIES=0 uv pip install --target out beta --index-url $REGISTRY/status/401
