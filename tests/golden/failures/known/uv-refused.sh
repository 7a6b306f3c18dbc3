# label: connection-refused
#---
UV_HTTP_RETRIES=0 uv pip install --target out beta --index-url http://127.0.0.1:9/simple
