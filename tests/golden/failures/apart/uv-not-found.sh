# label: package-missing
#---
uv pip install --index-url $REGISTRY/simple --target out shop-orders-client
