# label: version-conflict|no-matching-version
#---
pip install --index-url $REGISTRY/simple --target out alpha gamma
