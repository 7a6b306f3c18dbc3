# label: package-missing|no-matching-version
#---
pip install --index-url $REGISTRY/simple --target out delta
