# label: certificate
#---
uv pip install --index-url $TLS/simple --target out beta
