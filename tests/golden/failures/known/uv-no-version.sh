# label: no-matching-version
#---
uv pip install --index-url $REGISTRY/simple --target out "beta>=7"
