# label: version-conflict|no-matching-version
#---
uv pip install --index-url $REGISTRY/simple --target out alpha gamma
