# label: name-resolution|network
#---
UV_HTTP_RETRIES=0 uv pip install --index-url https://index.shop.invalid/simple --target out beta
