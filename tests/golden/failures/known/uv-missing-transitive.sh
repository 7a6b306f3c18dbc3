# label: package-missing
#---
uv pip install --target out delta --index-url $REGISTRY/simple
