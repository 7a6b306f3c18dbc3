# label: server-error
#---
UV_HTTP_RETRIES=0 uv pip install --index-url $REGISTRY/status/500 --target out beta
